"""`docs/how-yolov3-works.md`: its Python prints the text shown, which has every number of the prose.

The notebook has the same content.
"""

import json
import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from scripts.notebook import notebook

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-yolov3-works.md"
NOTEBOOK = PAGE.with_suffix(".ipynb")
TEXT = PAGE.read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?")
# numbers from definitions, not from a run: ranges of IoU and probabilities, GIoU = 1 - ..., 3 scales, 1 x 1
DEFINED = {"0", "1", "2", "3"}


@pytest.fixture(scope="module")
def printed() -> list[tuple[str, str]]:
    """Return (actual output, output in the notebook) of each code cell."""
    found, names = [], dict[str, object]()
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            with redirect_stdout(StringIO()) as out:
                exec(compile("".join(cell["source"]), str(NOTEBOOK), "exec"), names)
            found.append((out.getvalue(), "".join(cell["outputs"][0]["text"])))
    return found


def test_the_notebook_is_the_page() -> None:
    assert NOTEBOOK.read_text(encoding="utf-8") == notebook(TEXT), "run python scripts/notebook.py"


def test_each_cell_prints_what_the_page_shows(printed: list[tuple[str, str]]) -> None:
    assert len(printed) == sum(language == "python" for language, _ in FENCE.findall(TEXT)) == 26
    for ours, on_the_page in printed:
        assert ours == on_the_page


def test_every_number_in_the_prose_is_printed_or_passed_to_a_function(printed: list[tuple[str, str]]) -> None:
    code = [content for language, content in FENCE.findall(TEXT) if language == "python"]
    known = {_plain(word) for part in (*code, *(out for out, _ in printed)) for word in NUMBER.findall(part)}
    prose = re.sub(r"^(#+|\|) .*$|^\*\*\d+\.\*\*", "", FENCE.sub("", TEXT), flags=re.MULTILINE)
    prose = re.sub(r"\]\([^)]*\)|et al\. \d+|Darknet-53|src/\S+|lookonce\.\S+|route_\d", "", prose)
    unknown = {word for word in NUMBER.findall(prose) if _plain(word) not in known} - DEFINED
    assert unknown == set()


def _plain(word: str) -> float:
    return float(word.replace(",", ""))


def test_the_named_functions_are_in_the_named_files() -> None:
    named = re.findall(r"^`lookonce\.([\w.]+)` in `(src/[\w/]+\.py)`$", TEXT, re.MULTILINE)
    assert len(named) == 10
    for function, path in named:
        name = function.rpartition(".")[2]
        assert re.search(rf"(def|class) {name}\b", (ROOT / path).read_text(encoding="utf-8")), function
