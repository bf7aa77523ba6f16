"""`lookonce data anchors`: k-means anchors of a data set, beside the published ones."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from lookonce.annotations import load_samples, open_annotations
from lookonce.commands.opening import input_size
from lookonce.commands.report import say, say_samples
from lookonce.doctor.statistics import input_shapes
from lookonce.errors import AnnotationError, ConfigError
from lookonce.geometry.anchors import (
    Anchors,
    Shapes,
    best_possible_recall,
    fit_anchors,
    flatten,
    mean_best_iou,
)
from lookonce.networks import NETWORKS

DECIMALS = 1  # of a pixel; what is measured is what is printed


def anchors(data: Path, model: str, size: str, names: Path | None, *, as_json: bool, strict: bool) -> int:
    """Print anchors for the boxes as the network sees them, and how well they and the published ones fit.

    Returns:
        0 done, 1 done but something was skipped or repaired.

    Raises:
        ConfigError: an unknown model or a size that is none.
        AnnotationError: unusable annotations, or no box.
    """
    official, target = _official(model), input_size(size)
    found = load_samples(data, _split_to_learn_from(data), names, strict)
    code = say_samples({"": found}, Console(stderr=True))
    shapes = input_shapes(found.samples, target)
    if not len(shapes):
        raise AnnotationError(f"{data}: expected boxes to fit anchors to, found none")
    fitted = flatten(fit_anchors(shapes, official)).round(DECIMALS)
    fits = {"official": Fit.of(flatten(official), shapes), "data": Fit.of(fitted, shapes)}
    if as_json:
        about = {"model": model, "size": target, "boxes": len(shapes)}
        print(json.dumps(about | {name: asdict(fit) for name, fit in fits.items()}))
    else:
        Console().print(_table(fits))
        say(f"for a .cfg: anchors = {_as_cfg(fitted)}", Console())
    return code


@dataclass(frozen=True, slots=True)
class Fit:
    """How well anchors suit boxes.

    Attributes:
        anchors: (width, height) of each anchor in pixels of the network input, finest scale first.
        best_possible_recall: share of boxes that an anchor meets with shape IoU of 0.5 or more.
        mean_best_iou: mean IoU of the boxes with their best anchor.
    """

    anchors: list[list[float]]
    best_possible_recall: float
    mean_best_iou: float

    @classmethod
    def of(cls, anchors: Shapes, shapes: Shapes) -> Self:
        """Measure."""
        return cls(anchors.tolist(), best_possible_recall(shapes, anchors), mean_best_iou(shapes, anchors))


def _official(model: str) -> Anchors:
    if model not in NETWORKS:
        raise ConfigError(f"--model: expected one of {', '.join(NETWORKS)}, found {model!r}")
    return NETWORKS[model].anchors


def _split_to_learn_from(data: Path) -> str | None:
    return "train" if {"train", "trainval"} & set(open_annotations(data).splits) else None


def _table(fits: Mapping[str, Fit]) -> Table:
    table = Table("anchors", "best possible\nrecall", "mean best\nIoU", "width x height", box=SIMPLE)
    for name, fit in fits.items():
        sides = "  ".join(f"{w:g}x{h:g}" for w, h in fit.anchors)
        table.add_row(name, f"{fit.best_possible_recall:.3f}", f"{fit.mean_best_iou:.3f}", sides)
    return table


def _as_cfg(anchors: Shapes) -> str:
    return ", ".join(f"{w:g},{h:g}" for w, h in anchors.tolist())
