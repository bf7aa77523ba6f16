"""Show measurements as text, JSON and a plot."""

import math
from collections.abc import Collection, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from lookonce._optional import require
from lookonce.bench.measure import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PERCENTILES = (50, 90, 99)
OURS, THEIRS, INK, MUTED, FAINT = "#0072B2", "#999999", "#222222", "#666666", "#DDDDDD"
HEADINGS = ("", "ms", "90%", "99%", "images/s", "time", "peak MiB", "opening s")


def as_text(results: Sequence[Result]) -> str:
    """Format one table per case; the column `time` is relative to the first row that ran."""
    tables = []
    for case, grouped in groupby(results, key=lambda row: row.case):
        rows = list(grouped)
        ran = [row for row in rows if row.turns]
        cells = [
            (
                row.label,
                *(f"{row.percentile(share):.1f}" for share in PERCENTILES),
                f"{row.per_second:.1f}",
                f"{row.ratio(ran[0]):.2f}",
                "" if math.isnan(row.peak_mib) else f"{row.peak_mib:.0f}",
                f"{row.opening_seconds:.2f}",
            )
            for row in ran
        ]
        lines = aligned([HEADINGS, *cells])
        missing = [f"{row.label}: not measured: {row.error}" for row in rows if not row.turns]
        tables.append("\n".join([str(case), *lines, *missing]))
    return "\n\n".join(tables)


def as_dict(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return the measurements for JSON, with the milliseconds of every turn; None for missing numbers."""
    return [
        {
            "label": row.label,
            "size": list(row.case.size),
            "batch": row.case.batch,
            "threads": row.case.threads,
            **{f"ms_{share}": _number(row.percentile(share)) for share in PERCENTILES},
            "images_per_second": _number(row.per_second),
            "peak_mib": _number(row.peak_mib),
            "opening_seconds": _number(row.opening_seconds),
            "turns_ms": [list(turn) for turn in row.turns],
            "error": row.error or None,
        }
        for row in results
    ]


def plot(results: Sequence[Result], title: str) -> "Figure":
    """Plot a bar per row for the median batch, with a line to the 99th percentile.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    rows = [row for row in results if row.turns]
    figure: Figure = require("matplotlib.figure", "evaluate").Figure(
        (8.4, 1.6 + 0.36 * max(1, len(rows))), layout="constrained"
    )
    axes = figure.add_subplot()
    rows_at = range(len(rows))
    medians = [row.percentile(50) for row in rows]
    tails = [row.percentile(99) - median for row, median in zip(rows, medians, strict=True)]
    colors = [OURS if row.label.startswith("lookonce") else THEIRS for row in rows]
    axes.barh(
        rows_at, medians, xerr=[[0] * len(rows), tails], color=colors, height=0.7, error_kw={"ecolor": MUTED}
    )
    axes.set_yticks(rows_at, [f"{row.label}, {row.case}" for row in rows], parse_math=False)
    for row_at, row in zip(rows_at, rows, strict=True):
        axes.annotate(f" {row.percentile(50):.1f}", (row.percentile(99), row_at), va="center", color=INK)
    axes.invert_yaxis()
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", color=INK, parse_math=False)
    axes.set_xlabel("milliseconds per batch: bar to the median, line to the 99th percentile", color=MUTED)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.margins(x=0.12)
    return figure


def aligned(rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> list[str]:
    """Format a table as lines, with columns aligned to the right except those in `left`."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if number in left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
