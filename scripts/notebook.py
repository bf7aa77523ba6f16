"""Convert docs/how-yolov3-works.md to a notebook.

    python scripts/notebook.py [OUT]

OUT is docs/how-yolov3-works.ipynb by default. Prose becomes Markdown cells. A block of Python and the block
of text below it become a code cell and its output.
"""

import json
import re
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "how-yolov3-works.md"
CODE = re.compile(r"^```python\n(.*?)^```\n```text\n(.*?)^```\n", re.MULTILINE | re.DOTALL)


def notebook(page: str) -> str:
    """Return the page as notebook JSON (nbformat 4.5)."""
    cells: list[dict[str, object]] = []

    def add(kind: str, source: str, **more: object) -> None:
        if source.strip():
            lines = source.strip("\n").splitlines(keepends=True)
            name = f"cell-{len(cells)}"
            cells.append({"cell_type": kind, "id": name, "metadata": {}, "source": lines, **more})

    position = 0
    for block in CODE.finditer(page):
        add("markdown", page[position : block.start()])
        output = {"name": "stdout", "output_type": "stream", "text": block[2].splitlines(keepends=True)}
        add("code", block[1], execution_count=None, outputs=[output])
        position = block.end()
    add("markdown", page[position:])
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    about = {"kernelspec": kernel, "language_info": {"name": "python"}}
    tree = {"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(tree, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE.with_suffix(".ipynb")
    out.write_text(notebook(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
