"""Draw the charts of the report as SVG paths and marks, from the numbers in `report.json`.

Coordinates are those of a plot 300 wide and 220 high, with x from the left and y from the top.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lookonce._counted import counted

WIDTH, HEIGHT = 300, 220
COLORS = 6  # classes with a color of their own in the style sheet


@dataclass(frozen=True, slots=True)
class Line:
    """One curve.

    Attributes:
        name: name of the quantity.
        style: class in the style sheet: `all`, `c0` to `c5`, or `rest`.
        path: SVG path.
        note: number beside the name; empty for none.
    """

    name: str
    style: str
    path: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over two axes.

    Attributes:
        lines: curves, the most important last and so on top.
        across: (coordinate, label) of each tick on the x axis.
        up: (coordinate, label) of each tick on the y axis.
    """

    lines: tuple[Line, ...]
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Dot:
    """A dot of the scatter plot of counts, for all images with the same two counts.

    Attributes:
        x: coordinate from the left.
        y: coordinate from the top.
        radius: radius, larger for more images.
        text: description for a tooltip.
    """

    x: float
    y: float
    radius: float
    text: str


def curve_chart(curves: dict[str, Any], kind: str, worth: Sequence[float | None]) -> Chart:
    """Draw one kind of curve for each class, and for all classes together.

    If there are many classes, the three best and the three worst have colors, and the others are gray.

    Args:
        curves: `curves` of the report.
        kind: `precision` or `f1`.
        worth: number of each class, to rank it and to show beside its name; None without objects.
    """
    shown = [c for c, value in enumerate(worth) if value is not None]
    ranked = sorted(shown, key=lambda c: -(worth[c] or 0))
    named = ranked if len(ranked) <= COLORS else [*ranked[:3], *ranked[-3:]]
    lines = [
        Line("", "rest", _steps(curves["levels"], curves["classes"][c][kind]))
        for c in ranked
        if c not in named
    ]
    lines += [
        Line(
            curves["classes"][c]["name"],
            f"c{i}",
            _steps(curves["levels"], curves["classes"][c][kind]),
            f"{worth[c]:.2f}",
        )
        for i, c in reversed(list(enumerate(named)))
    ]
    if len(shown) > 1:
        lines.append(Line("all classes", "all", _steps(curves["levels"], curves["all"][kind])))
    ticks = tuple((share, f"{share:g}") for share in (0, 0.25, 0.5, 0.75, 1))
    return Chart(tuple(lines), *_placed(ticks, ticks, 1, 1))


def epoch_chart(epochs: Sequence[dict[str, float]], columns: dict[str, str], highest: float | None) -> Chart:
    """Draw columns of the training log over the epochs.

    Args:
        epochs: one row per epoch.
        columns: columns to draw, with their names on the chart.
        highest: upper end of the y axis; None for the largest value.
    """
    values = [row[column] for row in epochs for column in columns if column in row]
    top = highest or max(values, default=1.0) or 1.0
    last = max(row["epoch"] for row in epochs)
    lines = tuple(
        Line(
            name,
            f"c{i}",
            _path([(row["epoch"] / last, row[column] / top) for row in epochs if column in row]),
            f"{next((row[column] for row in reversed(epochs) if column in row), 0):.3g}",
        )
        for i, (column, name) in enumerate(columns.items())
        if any(column in row for row in epochs)
    )
    lines = lines[::-1]  # the first on top
    across = tuple((epoch, f"{epoch:g}") for epoch in sorted({0, round(last / 2), int(last)}))
    up = tuple((top * share, f"{top * share:.3g}") for share in (0, 0.5, 1))
    return Chart(lines, *_placed(across, up, last, top))


def count_scatter(images: Sequence[dict[str, Any]]) -> tuple[list[Dot], Chart]:
    """Return the dots of a scatter plot of annotated and counted objects per image, and its axes.

    Args:
        images: `metrics.counts` of the report.
    """
    pairs = Counter((sum(each["annotated"].values()), sum(each["counted"].values())) for each in images)
    top = max((max(pair) for pair in pairs), default=1) or 1
    dots = [
        Dot(
            round(WIDTH * annotated / top, 1),
            round(HEIGHT * (1 - found / top), 1),
            round(min(3 + np.sqrt(number), 12), 1),
            f"{counted(number, 'image')}: {annotated} annotated, {found} counted",
        )
        for (annotated, found), number in sorted(pairs.items())
    ]
    ticks = tuple((tick, str(tick)) for tick in sorted({0, top // 4, top // 2, 3 * top // 4, top}))
    return dots, Chart((), *_placed(ticks, ticks, top, top))


def _placed(
    across: Sequence[tuple[float, str]], up: Sequence[tuple[float, str]], right: float, top: float
) -> tuple[tuple[tuple[float, str], ...], tuple[tuple[float, str], ...]]:
    """Convert ticks from values to coordinates."""
    return (
        tuple((round(WIDTH * value / right, 1), text) for value, text in across),
        tuple((round(HEIGHT * (1 - value / top), 1), text) for value, text in up),
    )


def _steps(levels: Sequence[float], values: Sequence[float | None]) -> str:
    return _path([(x, y) for x, y in zip(levels, values, strict=False) if y is not None])


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Return the SVG path through points, given as shares of the axes."""
    places = (f"{WIDTH * x:.1f} {HEIGHT * (1 - min(y, 1)):.1f}" for x, y in points)
    return "M" + " L".join(places) if points else ""
