"""Write Markdown that reads well in a terminal: escaped text, aligned tables, wrapped prose.

Names of classes and files are untrusted: characters that Markdown, HTML or a terminal would interpret are
shown as text.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap

from lookonce.explain.records import ScaleOutput

MOST_ROWS = 50  # rows to show of a table that grows with the image
PROSE = 100  # characters per line
_MARKS = re.compile(r"([\\`*_\[\]<>|~&#$!])")


def text(name: str) -> str:
    """Return a text as one line, escaped so that Markdown, HTML and terminals show it unchanged."""
    line = "".join(each if each.isprintable() else " " for each in name)
    return _MARKS.sub(r"\\\1", " ".join(line.split()))


def prose(sentences: str) -> list[str]:
    """Wrap sentences into lines of at most `PROSE` characters."""
    return wrap(sentences, PROSE)


def box_text(box: Iterable[float]) -> str:
    """Format the sides of a box to a tenth of a pixel."""
    return ", ".join(f"{side:.1f}" for side in box)


def position_text(scales: tuple[ScaleOutput, ...], position: Iterable[int]) -> str:
    """Describe a position in the network by its stride, row, column and anchor."""
    number, row, column, anchor = position
    width, height = scales[number].anchors[anchor]
    return f"stride {scales[number].stride}, row {row}, column {column}, anchor {width:g} x {height:g}"


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, whole: bool = False) -> Iterator[str]:
    """Yield the lines of a table with padded columns; only `MOST_ROWS` rows are shown unless `whole`."""
    cells = [[str(value) for value in row] for row in rows]
    most = len(cells) if whole else MOST_ROWS
    shown = [list(headings), *cells[:most]]
    widths = [max(len(row[column]) for row in shown) for column in range(len(headings))]
    lines = [
        " | ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)) for row in shown
    ]
    yield f"| {lines[0]} |"
    yield f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    yield from (f"| {line} |" for line in lines[1:])
    if len(cells) > most:
        yield from ("", f"... and {len(cells) - most} more rows.")
