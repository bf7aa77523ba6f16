"""Plot the curves and the confusion matrix.

Figures are made without pyplot, so there are no windows and no global state, and any thread may plot.
"""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lookonce._counted import counted
from lookonce._files import replacing
from lookonce._optional import require
from lookonce.evaluate.confusion import Confusion
from lookonce.evaluate.counting import Source
from lookonce.evaluate.curves import Curve, Curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colors, which color-blind people can distinguish, without yellow, which is too pale on white
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK, MUTED, FAINT = "#222222", "#666666", "#DDDDDD"
ALL = "all classes"
LONGEST_NAME = 28  # characters
# Each character is drawn in the first of these fonts that is installed and contains it; matplotlib ships the
# first font.
FONTS = ("DejaVu Sans", "Noto Sans CJK JP", "PingFang SC", "Microsoft YaHei", "Arial Unicode MS")


class _Line(NamedTuple):
    """Curve to draw: points, position of the dot, text of the legend, and number to rank it by."""

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    dot: tuple[float, float]
    note: str
    worth: float


def precision_recall(curves: Curves, names: Sequence[str], ap50: Sequence[float]) -> "Figure":
    """Plot precision over recall, one line per class; the area under a line is VOC's AP50.

    Args:
        curves: curves of all classes.
        names: class names.
        ap50: VOC's AP50 of each class.
    """
    lines = [
        _precision_line(curve, _short(name), f"{ap:.2f}", ap)
        for curve, name, ap in zip(curves.classes, names, ap50, strict=True)
        if curve.objects
    ]
    note = "; there are no objects to find"
    if lines:
        mean = sum(line.worth for line in lines) / len(lines)
        note = f"; their mean is {mean:.3f}" if len(lines) > 1 else f", {mean:.3f}"
    figure, axes = _figure(
        "Precision and recall at IoU 0.50",
        f"The area under a line is its VOC AP50{note}. Dot: best F1.",
    )
    axes.set(xlabel="recall: share of the objects found", ylabel="precision: share of correct detections")
    _draw(axes, lines, _precision_line(curves.overall, ALL, "", math.inf))
    return figure


def f1_threshold(curves: Curves, names: Sequence[str]) -> "Figure":
    """Plot F1 over the score threshold, one line per class, to choose `--conf`."""
    lines = [
        _f1_line(curve, _short(name))
        for curve, name in zip(curves.classes, names, strict=True)
        if curve.objects
    ]
    overall = _f1_line(curves.overall, ALL)
    figure, axes = _figure(
        "F1 at each score threshold",
        f"IoU 0.50. Best, all objects together: {overall.note}.",
    )
    axes.set(xlabel="score threshold", ylabel="F1: harmonic mean of precision and recall")
    _draw(axes, lines, overall)
    return figure


def confusion_matrix(confusion: Confusion, names: Sequence[str], source: Source) -> "Figure":
    """Plot counts of true class by detected class; the shade is the share of the row.

    Args:
        confusion: counts, thresholds and IoU.
        names: class names.
        source: origin of the score thresholds.
    """
    counts = confusion.counts
    above = "the model's thresholds" if source == "model" else "thresholds of these images"
    if len(set(confusion.thresholds)) == 1:
        above = f"threshold {confusion.thresholds[0]:.2g}"
    side = float(np.clip(4 + 0.34 * len(counts), 5, 24))
    figure, axes = _figure(
        "Confusion matrix",
        f"Detections above {above}, IoU {confusion.iou:.2f}. Shade: share of the row.",
        size=(max(side, 6.6), side),
    )
    axes.set_anchor("W")
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.grid(visible=False)
    letters = float(np.clip(260 / len(counts), 5, 10))
    ticks, labels = range(len(counts)), [_short(name) for name in names]
    style: dict[str, Any] = {"fontsize": letters, "fontfamily": _fonts(), "parse_math": False}
    axes.set_yticks(ticks, [*labels, "no object"], **style)
    axes.set_xticks(ticks, [*labels, "missed"], rotation=90 if len(counts) > 5 else 0, **style)
    axes.set(xlabel="detected class", ylabel="true class")
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "white" if share[row, column] > 0.5 else INK
            axes.text(column, row, str(count), ha="center", va="center", fontsize=letters, color=color)
    edge = len(counts) - 1.5  # background is not a class: a line separates it
    axes.axhline(edge, color=MUTED, linewidth=1)
    axes.axvline(edge, color=MUTED, linewidth=1)
    return figure


def save(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG, atomically."""
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # shown as an empty box
        figure.savefig(temporary, format="png", dpi=120)


def _figure(title: str, subtitle: str, size: tuple[float, float] = (8.4, 5.6)) -> "tuple[Figure, Axes]":
    """Make an empty plot with title and subtitle."""
    figure: Figure = require("matplotlib.figure", "evaluate").Figure(size, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold", color=INK, pad=26)
    axes.annotate(
        subtitle, (0, 1), xytext=(0, 9), xycoords="axes fraction", textcoords="offset points", color=MUTED
    )
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _precision_line(curve: Curve, name: str, note: str, worth: float) -> _Line:
    """Return precision over recall from 0, made non-increasing as for AP."""
    if not len(curve.scores):
        return _Line(name, np.zeros(0), np.zeros(0), (math.nan, math.nan), note, worth)
    falling = np.maximum.accumulate(curve.precision[::-1])[::-1]
    x, y = np.append(0, curve.recall), np.append(falling[0], falling)
    best = curve.best()
    return _Line(name, x, y, (best.recall, best.precision), note, worth)


def _f1_line(curve: Curve, name: str) -> _Line:
    """Return F1 over the threshold, from 0 to 1: constant between two scores, 0 above the highest."""
    if not len(curve.scores) or not curve.objects:
        return _Line(name, np.zeros(0), np.zeros(0), (math.nan, math.nan), "nothing found", 0)
    x = np.concatenate([[0], curve.scores[::-1], [1]])
    y = np.concatenate([curve.f1[-1:], curve.f1[::-1], [0]])
    best = curve.best()
    note = f"{best.f1:.2f} at {best.threshold:.2g}"
    return _Line(name, x, y, (best.threshold, best.f1), note, best.f1)


def _draw(axes: "Axes", lines: Sequence[_Line], overall: _Line) -> None:
    """Draw each class in its own color or, of many classes, the three best and worst, and all others gray."""
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    ranked = sorted(lines, key=lambda line: -line.worth)
    named = ranked if len(ranked) <= len(COLORS) else ranked[:3] + ranked[-3:]
    for line in ranked:
        if not any(line is other for other in named):
            axes.step(line.x, line.y, where="pre", color="#BBBBBB", linewidth=0.7)
    colored = list(zip(named, COLORS, strict=False))
    if len(lines) > 1:
        colored.insert(0, (overall, INK))
    for line, color in reversed(colored):
        width = 2.4 if color == INK else 1.6
        axes.step(line.x, line.y, where="pre", color=color, linewidth=width)
        axes.plot(*line.dot, "o", color=color, markersize=6, markeredgecolor="white", clip_on=False)
    _label(axes, [(f"{line.name}  {line.note}", color) for line, color in colored], len(lines))


def _label(axes: "Axes", entries: Sequence[tuple[str, str]], classes: int) -> None:
    """Write the names to the right of the plot in the colors of their lines, best on top."""
    for i, (text, color) in enumerate(entries):
        gap = 0.05 if classes > len(COLORS) and i > len(entries) // 2 else 0  # between best and worst
        y = 0.97 - 0.065 * i - gap
        axes.annotate(
            text,
            (1.02, y),
            xycoords="axes fraction",
            color=color,
            fontweight="bold" if color == INK else "normal",
            va="center",
            parse_math=False,
            fontfamily=_fonts(),
            annotation_clip=False,
        )
    if classes > len(COLORS):
        y = 0.97 - 0.065 * len(entries) - 0.06
        axes.annotate(
            f"gray: {counted(classes - len(COLORS), 'other class')}",
            (1.02, y),
            xycoords="axes fraction",
            color=MUTED,
            va="center",
        )


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _fonts() -> list[str]:
    manager: Any = require("matplotlib.font_manager", "evaluate").fontManager
    present = set(manager.get_font_names())
    return [font for font in FONTS if font in present]
