"""Advise on input size, model and anchors for given boxes, with measurements as reasons."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from lookonce.doctor.planned_network import PlannedNetwork
from lookonce.geometry.anchors import (
    Shapes,
    best_possible_recall,
    fit_anchors,
    flatten,
    mean_best_iou,
)
from lookonce.geometry.sizes import size_text
from lookonce.networks import BUILT_IN, NETWORKS
from lookonce.samples import Sample, input_shapes

SIZES = (320, 416, 608)
SMALL = 12.0  # square root of the area, in pixels of the input, below which most objects are missed
ENOUGH = 0.1  # acceptable share of small objects
GAIN = 0.05  # gain in mean best IoU from which other anchors are worth trying; see benchmarks/recipes.md


@dataclass(frozen=True, slots=True)
class SizeFit:
    """Sizes of the objects at one input size.

    Attributes:
        side: longer side of the input.
        small: share of objects below 12 pixels (square root of the area).
        below_8: share of objects with a side below 8 pixels, the finest stride of yolov3.
        below_16: share of objects with a side below 16 pixels, the finest stride of yolov3-tiny.
        work: amount of arithmetic relative to an input of 416.
    """

    side: int
    small: float
    below_8: float
    below_16: float
    work: float

    @classmethod
    def measure(cls, samples: Sequence[Sample], size: tuple[int, int]) -> Self:
        """Measure the objects of the training split at one input size, (height, width)."""
        shapes = input_shapes(samples, size)
        shorter = shapes.min(axis=1)
        return cls(
            max(size),
            small=float((np.sqrt(shapes.prod(axis=1)) < SMALL).mean()),
            below_8=float((shorter < 8).mean()),
            below_16=float((shorter < 16).mean()),
            work=math.prod(size) / 416**2,
        )


@dataclass(frozen=True, slots=True)
class AnchorFit:
    """Fit of some anchors to the boxes at the planned input size.

    Attributes:
        name: name of the anchors in messages.
        anchors: (width, height) of each anchor in pixels of the input, finest scale first.
        best_possible_recall: share of boxes with a shape IoU of 0.5 or more with some anchor.
        mean_best_iou: mean shape IoU of the boxes with their best anchor.
    """

    name: str
    anchors: list[list[float]]
    best_possible_recall: float
    mean_best_iou: float

    @classmethod
    def measure(cls, name: str, anchors: Shapes, shapes: Shapes) -> Self:
        """Measure how well anchors fit the (N, 2) shapes of boxes, both in pixels of the input."""
        recall, iou = best_possible_recall(shapes, anchors), mean_best_iou(shapes, anchors)
        return cls(name, anchors.tolist(), recall, iou)


@dataclass(frozen=True, slots=True)
class Advice:
    """Advice on a training run.

    Attributes:
        sizes: measurement at each input size; empty without boxes.
        anchors: fit of the network's own anchors, then of k-means anchors if boxes are varied enough.
        size_reason: sentence with the advised input size and the reason.
        model_reason: sentence on the finest stride of the network.
        anchor_reason: sentence with the advised anchors and the reason.
        settings: advised input size and anchors as options of `lookonce train`.
    """

    sizes: tuple[SizeFit, ...]
    anchors: tuple[AnchorFit, ...]
    size_reason: str
    model_reason: str
    anchor_reason: str
    settings: tuple[str, ...] = ()


def advised_size(sizes: Sequence[SizeFit]) -> SizeFit:
    """Return the smallest size at which few objects are small, else the largest size."""
    return next((fit for fit in sizes if fit.small <= ENOUGH), sizes[-1])


def advise(samples: Sequence[Sample], network: PlannedNetwork) -> Advice:
    """Compare input sizes and anchors for the boxes of the training split."""
    if all(sample.crowd.all() for sample in samples):
        nothing = "no boxes, so no advice"
        return Advice((), (), nothing, nothing, nothing)
    sizes = tuple(SizeFit.measure(samples, (side, side)) for side in SIZES)
    shapes = input_shapes(samples, network.size)
    known = NETWORKS.get(network.model)
    name = "the published" if known and known.anchors == network.anchors else "the model's own"
    anchors = [AnchorFit.measure(name, flatten(network.anchors), shapes)]
    fitted = fit_anchors(shapes, network.anchors)
    if fitted != network.anchors:
        anchors.append(AnchorFit.measure("k-means of these boxes", flatten(fitted).round(1), shapes))
    size = advised_size(sizes)
    gain = anchors[-1].mean_best_iou - anchors[0].mean_best_iou
    is_trained = network.model in BUILT_IN  # other anchors lower its AP: benchmarks/start.md
    anchor_reason = _anchor_reason(anchors, gain, is_trained=is_trained)
    settings = ["--size", str(size.side)]
    if gain >= GAIN and not is_trained:
        settings += ["--set", "anchors=data"]
    return Advice(
        sizes,
        tuple(anchors),
        _size_reason(sizes, size),
        _model_reason(shapes, network),
        anchor_reason,
        tuple(settings),
    )


def _size_reason(sizes: Sequence[SizeFit], chosen: SizeFit) -> str:
    """Explain the choice of `advised_size`."""
    shares = ", ".join(f"{fit.small:.0%} at {fit.side}" for fit in sizes)
    measured = f"Objects below {SMALL:.0f} pixels: {shares}."
    if chosen.small > ENOUGH:
        return (
            f"{measured} Use {chosen.side}, and expect to miss many of the smallest; "
            "to find these, detect with --tiles 2x2."
        )
    return f"{measured} Use {chosen.side}: the smallest size at which at most {ENOUGH:.0%} are that small."


def _model_reason(shapes: Shapes, network: PlannedNetwork) -> str:
    stride, at = network.strides[0], f"at {size_text(network.size)}"
    share = float((shapes.min(axis=1) < stride).mean())
    measured = (
        f"{share:.0%} of the objects have a side below {stride} pixels {at}, "
        f"a cell of {network.model}'s finest grid."
    )
    finest = min(min(layout.strides) for layout in NETWORKS.values())
    if share <= ENOUGH:
        return f"{measured} That is acceptable."
    if stride > finest:
        finer = float((shapes.min(axis=1) < finest).mean())
        finest_of = " or ".join(name for name, each in NETWORKS.items() if finest in each.strides)
        return f"{measured} With {finest_of} ({finest} pixels), it would be {finer:.0%}."
    return f"{measured} No model has finer cells: use a larger size."


def _anchor_reason(anchors: Sequence[AnchorFit], gain: float, *, is_trained: bool) -> str:
    """Explain whether k-means anchors, which come second in `anchors`, raise the mean best IoU enough."""
    own, *fitted = anchors
    if not fitted:
        return f"Too few different boxes to compute anchors: keep {own.name} ones."
    better = fitted[0]
    measured = (
        f"Best possible recall {own.best_possible_recall:.3f} with {own.name} anchors, "
        f"{better.best_possible_recall:.3f} with those of k-means; "
        f"mean best IoU {own.mean_best_iou:.3f} and {better.mean_best_iou:.3f}."
    )
    if is_trained:
        return f"{measured} Keep {own.name} ones: training starts from weights that belong to them."
    if gain >= GAIN:
        return f"{measured} Try k-means (--set anchors=data), unless you start from published weights."
    return f"{measured} Keep {own.name} ones: the gain is small."
