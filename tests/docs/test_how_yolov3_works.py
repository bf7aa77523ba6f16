"""`docs/how-yolov3-works.md`: its Python prints its text, and no number in its prose comes from elsewhere."""

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-yolov3-works.md"
TEXT = PAGE.read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?")
# Of the definitions themselves, not of any run: IoU and probabilities go from 0 to 1, GIoU is 1 - ..., twice.
DEFINED = {"0", "1", "2", "3"}


@pytest.fixture(scope="module")
def printed() -> list[tuple[str, str]]:
    """(what a block printed, what the page says it prints), block by block."""
    found, names = [], dict[str, object]()
    blocks = FENCE.findall(TEXT)
    for (language, content), (_, following) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if language == "python":
            with redirect_stdout(StringIO()) as out:
                exec(compile(content, str(PAGE), "exec"), names)
            found.append((out.getvalue(), following))
    return found


def test_each_block_prints_what_stands_below_it(printed: list[tuple[str, str]]) -> None:
    assert len(printed) == 13
    for ours, on_the_page in printed:
        assert ours == on_the_page


def test_every_number_of_the_prose_is_printed_or_given_to_a_function(printed: list[tuple[str, str]]) -> None:
    code = [content for language, content in FENCE.findall(TEXT) if language == "python"]
    known = {_plain(word) for part in (*code, *(out for out, _ in printed)) for word in NUMBER.findall(part)}
    prose = re.sub(r"^#+ .*$|\d+\. ", "", FENCE.sub("", TEXT), flags=re.MULTILINE)
    prose = re.sub(r"Darknet-53|src/\S+|lookonce\.\S+|route_\d", "", prose)
    unknown = {word for word in NUMBER.findall(prose) if _plain(word) not in known} - DEFINED
    assert unknown == set()


def _plain(word: str) -> float:
    return float(word.replace(",", ""))


def test_the_functions_it_names_are_where_it_says() -> None:
    named = re.findall(r"^`lookonce\.([\w.]+)` in `(src/[\w/]+\.py)`$", TEXT, re.MULTILINE)
    assert len(named) == 8
    for function, path in named:
        name = function.rpartition(".")[2]
        assert re.search(rf"(def|class) {name}\b", (ROOT / path).read_text(encoding="utf-8")), function
