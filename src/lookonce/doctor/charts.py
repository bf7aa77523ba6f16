"""Compute the bar charts and maps of a data set, which the templates draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookonce.doctor.advice import Advice
from lookonce.doctor.classes import count_classes
from lookonce.doctor.planned_network import PlannedNetwork
from lookonce.geometry.boxes import xyxy_to_cxcywh
from lookonce.samples import SampleSet, input_shapes

IMAGE_EDGES = (0, 1, 2, 3, 5, 10, 20, 30, 50, 100, 200)  # boxes per image; a bin ends before the next edge
SIZE_EDGES = (0, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384)  # pixels of the input
CELLS = 24  # cells per side of a map
SHAPE_RANGE = (2.0, 640.0)  # sides shown in the map of shapes, in pixels of the input
DECADES = (3, 10, 30, 100, 300)  # ticks of the map of shapes, in pixels of the input


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of a bar chart: label, text, and length from 0 to 1."""

    label: str
    text: str
    length: float


@dataclass(frozen=True, slots=True)
class MapCell:
    """One cell of a map: column, row, and strength from 0 to 1, which is 1 in the fullest cell."""

    column: int
    row: int
    strength: float


@dataclass(frozen=True, slots=True)
class AnchorMark:
    """One anchor on the map of shapes; x and y in cells from the left and the top."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Plots:
    """Data for the template `plots.html`.

    Attributes:
        classes: number of objects per class.
        per_image: number of images by their number of boxes.
        sizes: number of objects by the square root of their area, in pixels of the input.
        positions: map of box centers in the image.
        shapes: map of widths (to the right) and heights (upwards) in pixels of the input, logarithmic.
        anchors: marks of anchors on the map of shapes, by name of the anchors.
        ticks: position in cells and number of pixels of each tick of the map of shapes.
        network: network and input size as text.
        cells: number of cells per side of a map.
    """

    classes: tuple[Bar, ...]
    per_image: tuple[Bar, ...]
    sizes: tuple[Bar, ...]
    positions: tuple[MapCell, ...]
    shapes: tuple[MapCell, ...]
    anchors: Mapping[str, tuple[AnchorMark, ...]]
    ticks: tuple[tuple[float, int], ...]
    network: str
    cells: int = CELLS


def plots(sample_set: SampleSet, network: PlannedNetwork, advice: Advice) -> Plots:
    """Compute the data of all plots."""
    samples = sample_set.samples
    shapes = input_shapes(samples, network.size)
    centers = [np.zeros((0, 2))]
    for sample in samples:
        centers.append(xyxy_to_cxcywh(sample.boxes)[:, :2] / sample.image_size[::-1])
    counts = count_classes(sample_set)
    total, most = max(int(counts.sum()), 1), max(int(counts.max(initial=0)), 1)
    anchors = {}
    for fit in advice.anchors:
        sides = np.array(fit.anchors, np.float64).reshape(-1, 2)
        points = zip(
            _at(sides[:, 0]).tolist(), (CELLS - _at(sides[:, 1])).tolist(), sides.tolist(), strict=True
        )
        anchors[fit.name] = tuple(AnchorMark(x, y, f"{w:g} x {h:g}") for x, y, (w, h) in points)
    return Plots(
        classes=tuple(
            Bar(name, f"{count} ({count / total:.0%})", count / most)
            for name, count in zip(sample_set.names, counts.tolist(), strict=True)
        ),
        per_image=_histogram([len(sample.labels) for sample in samples], IMAGE_EDGES, step=1),
        sizes=_histogram(np.sqrt(shapes.prod(axis=1)), SIZE_EDGES, step=0),
        positions=_cells(*(np.concatenate(centers) * CELLS).T),
        shapes=_cells(_at(shapes[:, 0]), CELLS - _at(shapes[:, 1])),
        anchors=anchors,
        ticks=tuple((float(_at(np.array([tick]))[0]), tick) for tick in DECADES),
        network=str(network),
    )


def _histogram(
    values: Sequence[float] | NDArray[np.float64], edges: Sequence[int], step: int
) -> tuple[Bar, ...]:
    """Count the values between consecutive edges; empty rows at both ends are left out.

    Args:
        values: values to count.
        edges: ascending lower edges of the rows.
        step: difference between the next edge and the last value of a row, for its label: 1 for integers,
            else 0.
    """
    counts = np.histogram(values, [*edges, np.inf])[0]
    filled = np.flatnonzero(counts)
    if not len(filled):
        return ()
    bars = []
    for i in range(filled[0], filled[-1] + 1):
        last = None if i + 1 == len(edges) else edges[i + 1] - step
        label = f"{edges[i]} and more" if last is None else f"{edges[i]} to {last}"
        text = f"{counts[i]} ({counts[i] / counts.sum():.0%})"
        bars.append(Bar(str(edges[i]) if last == edges[i] else label, text, float(counts[i] / counts.max())))
    return tuple(bars)


def _cells(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[MapCell, ...]:
    """Count points per cell; the strength follows the square root of the count, so single points show."""
    counts = np.histogram2d(x, y, bins=CELLS, range=((0, CELLS), (0, CELLS)))[0]
    strength = np.sqrt(counts / max(counts.max(), 1)).round(2)
    filled = np.argwhere(counts).tolist()
    return tuple(MapCell(column, row, float(strength[column, row])) for column, row in filled)


def _at(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert pixels to positions on the map of shapes, in cells."""
    low, high = np.log(SHAPE_RANGE)
    share = (np.log(pixels.clip(*SHAPE_RANGE)) - low) / (high - low)
    cells: NDArray[np.float64] = share.clip(0, 1 - 1e-9) * CELLS
    return cells
