"""Evaluate detections with all metrics, and write them as JSON and plots."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lookonce._files import write_json_file
from lookonce.detections import Detections
from lookonce.evaluate import plots
from lookonce.evaluate.bootstrap import LEVEL, RESAMPLES, ClassIntervals, Intervals, intervals
from lookonce.evaluate.coco import Metrics, evaluate, without_nan
from lookonce.evaluate.confusion import Confusion, confusion
from lookonce.evaluate.counting import Counting, choose_thresholds, count
from lookonce.evaluate.curves import Curve, Curves, curves
from lookonce.evaluate.matching import match
from lookonce.evaluate.ranking import rank
from lookonce.evaluate.voc import average_precisions, mean_average_precision
from lookonce.samples import Sample

PRECISION = 0.9  # precision of the second operating point


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """All metrics on one set of images.

    Attributes:
        names: class names.
        metrics: COCO's metrics.
        voc_ap50: VOC's AP at IoU 0.5 of each class; NaN for a class without objects.
        curves: precision, recall and F1 at every score threshold.
        confusion: confusion matrix at the thresholds of the counts.
        best_thresholds: score threshold of each class at which counts are best on these images.
        counting: counts at the model's thresholds, or at the best ones if the model has none.
        intervals: 95% intervals of AP, AP50 and relative counting errors.
    """

    names: tuple[str, ...]
    metrics: Metrics
    voc_ap50: tuple[float, ...]
    curves: Curves
    confusion: Confusion
    best_thresholds: tuple[float, ...]
    counting: Counting
    intervals: Intervals

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers for JSON, with None in place of NaN."""
        metrics = asdict(self.metrics)
        counting, spread = self.counting, self.intervals
        numbers = {
            **metrics,
            "voc_ap50": mean_average_precision(self.voc_ap50),
            **operating_points(self.curves.overall),
            **interval_fields(spread.overall),
            "intervals": {
                "level": LEVEL,
                "over": "groups" if spread.grouped else "images",
                "number": spread.units,
                "resamples": RESAMPLES,
            },
            "counting": {"thresholds_from": counting.source, **asdict(counting.of())},
            "classes": [
                {
                    **row,
                    "voc_ap50": self.voc_ap50[c],
                    **operating_points(self.curves.classes[c]),
                    **interval_fields(spread.classes[c]),
                    "best_threshold": self.best_thresholds[c],
                    "counting": {"threshold": counting.thresholds[c], **asdict(counting.of(c))},
                }
                for c, row in enumerate(metrics["classes"])
            ],
            "confusion": {
                "thresholds": list(self.confusion.thresholds),
                "iou": self.confusion.iou,
                "names": [*self.names, "background"],
                "counts": self.confusion.counts.tolist(),
            },
            "counts": counting.per_image(),
        }
        result: dict[str, Any] = without_nan(numbers)
        return result


def evaluate_detections(
    truth: Sequence[Sample],
    detections: Sequence[Detections],
    names: Sequence[str],
    thresholds: Sequence[float] | None = None,
    groups: Sequence[int] | None = None,
) -> Evaluation:
    """Compute all metrics.

    Args:
        truth: annotated images.
        detections: results for the same images, in the same order. They should include low scores, because
            the curves and AP use every detection.
        names: class names that the labels of both index.
        thresholds: score threshold of each class to count with; None for the best ones on these images.
        groups: number of each image's group, from 0, if images belong together, such as the frames of a
            video; intervals are then over groups. None if every image is its own group.

    Raises:
        MissingExtraError: faster-coco-eval is not installed.
        ValueError: the results are not one per image, or a label is outside the names.
    """
    matches = match(truth, detections, names)
    drawn = curves(matches)
    images = [str(sample.path) for sample in truth]
    counting = count(matches, names, images, thresholds)
    return Evaluation(
        names=tuple(names),
        metrics=evaluate(truth, detections, names),
        voc_ap50=average_precisions(matches),
        curves=drawn,
        confusion=confusion(truth, detections, names, counting.thresholds),
        best_thresholds=counting.thresholds if thresholds is None else choose_thresholds(matches),
        counting=counting,
        intervals=intervals(rank(truth, detections, names), counting, groups),
    )


def write_report(folder: Path, evaluation: Evaluation, about: dict[str, Any]) -> dict[str, Any]:
    """Write `metrics.json` and the plots into a folder, each file atomically.

    Args:
        folder: output folder, which is created if it does not exist.
        evaluation: metrics to write.
        about: model, data and options, to be written first.

    Returns:
        The content of `metrics.json`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    tree = {**about, **evaluation.to_dict()}
    write_json_file(folder / "metrics.json", tree)
    names, drawn = evaluation.names, evaluation.curves
    images = {
        "precision_recall.png": plots.precision_recall(drawn, names, evaluation.voc_ap50),
        "f1_threshold.png": plots.f1_threshold(drawn, names),
        "confusion.png": plots.confusion_matrix(evaluation.confusion, names, evaluation.counting.source),
    }
    for name, figure in images.items():
        plots.save(figure, folder / name)
    return tree


def interval_fields(of: ClassIntervals) -> dict[str, list[float]]:
    """Return the intervals for JSON, as [low, high] by field name."""
    ends = {"ap": of.ap, "ap50": of.ap50, "count": of.relative}
    return {f"{name}_interval": [each.low, each.high] for name, each in ends.items()}


def operating_points(curve: Curve) -> dict[str, dict[str, float]]:
    """Return the operating points with the best F1 and with precision 0.9, for JSON."""
    return {
        "best_f1": asdict(curve.best()),
        f"at_precision_{PRECISION}": asdict(curve.at_precision(PRECISION)),
    }
