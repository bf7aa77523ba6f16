"""Compute the twelve COCO metrics, and AP per class.

This module converts samples and detections for faster-coco-eval, which agrees with pycocotools, and converts
its results to `Metrics`.

Legend: **T** IoU thresholds 0.50, 0.55 ... 0.95; **R** 101 recall levels; **C** classes; **A** area ranges
(all, small, medium, large); **M** limits on the detections of one class in one image.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookonce._optional import require
from lookonce.detections import Detections
from lookonce.evaluate.inputs import comparable, objects_that_count
from lookonce.geometry.boxes import area
from lookonce.samples import Sample

CAPS = (1, 10, 100)  # COCO's limits on the number of detections per class and image, best first
MOST = CAPS[-1]
ALL, SMALL, MEDIUM, LARGE = range(4)  # area ranges: all, below 32², up to 96², above, in pixels of the image
IOU_50, IOU_75 = 0, 5  # indices of IoU thresholds
# Area of difficult objects. COCO's only flag to ignore an object is crowd, which changes the IoU, but objects
# outside an area range are ignored as well. No range contains this area.
IGNORED_AREA = 1e11


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """Metrics of one class; NaN for a class without an object that counts.

    Attributes:
        name: class name.
        objects: number of objects that count: neither difficult nor crowd.
        ap: average precision, averaged over the ten IoU thresholds.
        ap50: AP at IoU 0.50.
        ap75: AP at IoU 0.75.
        ar: share of the objects found with at most 100 detections per image, averaged over the IoU
            thresholds (average recall).
    """

    name: str
    objects: int
    ap: float
    ap50: float
    ap75: float
    ar: float


@dataclass(frozen=True, slots=True)
class Metrics:
    """COCO's metrics, averaged over the classes that have objects; NaN if there are none.

    Attributes:
        ap: average precision, averaged over the IoU thresholds 0.50 to 0.95; the main metric.
        ap50: AP at IoU 0.50.
        ap75: AP at IoU 0.75.
        ap_small: AP of objects with an area below 32² pixels.
        ap_medium: AP of objects with an area between 32² and 96² pixels.
        ap_large: AP of objects with an area above 96² pixels.
        ar_1: average recall with 1 detection per class and image.
        ar_10: average recall with 10 detections per class and image.
        ar_100: average recall with 100 detections per class and image, the limit of all metrics but the
            uncapped ones.
        ar_small: average recall of small objects.
        ar_medium: average recall of medium objects.
        ar_large: average recall of large objects.
        ap_uncapped: `ap` with every detection, not only the best 100.
        ar_uncapped: `ar_100` with every detection.
        crowded: number of images with more than 100 objects of one class, on which only the uncapped metrics
            can reach 1.
        images: number of images.
        objects: number of objects that count: neither difficult nor crowd.
        detections: number of detections.
        classes: metrics of each class, in the order of the names.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar_1: float
    ar_10: float
    ar_100: float
    ar_small: float
    ar_medium: float
    ar_large: float
    ap_uncapped: float
    ar_uncapped: float
    crowded: int
    images: int
    objects: int
    detections: int
    classes: tuple[ClassMetrics, ...]

    def to_json(self) -> str:
        """Return a JSON object; NaN becomes null."""
        return json.dumps(without_nan(asdict(self)), indent=2, ensure_ascii=False)


def without_nan(value: Any) -> Any:
    """Replace NaN with None in nested dicts and lists, as JSON has no NaN."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def evaluate(truth: Sequence[Sample], detections: Sequence[Detections], names: Sequence[str]) -> Metrics:
    """Compute COCO's metrics without printing anything.

    As in COCO, detections in a crowd box of their class have no penalty. Difficult objects are ignored: a
    detection that matches one counts neither as correct nor as false.

    Args:
        truth: annotated images.
        detections: results for the same images, in the same order.
        names: class names that the labels of both index.

    Raises:
        MissingExtraError: faster-coco-eval is not installed.
        ValueError: the results are not one per image, or a label is outside the names.
    """
    detections = comparable(truth, detections, names)
    precision, recall = _accumulated(truth, detections, names)
    counts = objects_that_count(truth, len(names))  # (images, C)
    per_class = counts.sum(axis=0)
    return Metrics(
        ap=_mean(precision[..., ALL, 2]),
        ap50=_mean(precision[IOU_50, ..., ALL, 2]),
        ap75=_mean(precision[IOU_75, ..., ALL, 2]),
        ap_small=_mean(precision[..., SMALL, 2]),
        ap_medium=_mean(precision[..., MEDIUM, 2]),
        ap_large=_mean(precision[..., LARGE, 2]),
        ar_1=_mean(recall[..., ALL, 0]),
        ar_10=_mean(recall[..., ALL, 1]),
        ar_100=_mean(recall[..., ALL, 2]),
        ar_small=_mean(recall[..., SMALL, 2]),
        ar_medium=_mean(recall[..., MEDIUM, 2]),
        ar_large=_mean(recall[..., LARGE, 2]),
        ap_uncapped=_mean(precision[..., ALL, -1]),
        ar_uncapped=_mean(recall[..., ALL, -1]),
        crowded=int((counts > MOST).any(axis=1).sum()),
        images=len(truth),
        objects=int(per_class.sum()),
        detections=sum(len(found) for found in detections),
        classes=tuple(
            ClassMetrics(
                name=name,
                objects=int(per_class[c]),
                ap=_mean(precision[:, :, c, ALL, 2]),
                ap50=_mean(precision[IOU_50, :, c, ALL, 2]),
                ap75=_mean(precision[IOU_75, :, c, ALL, 2]),
                ar=_mean(recall[:, c, ALL, 2]),
            )
            for c, name in enumerate(names)
        ),
    )


def _accumulated(
    truth: Sequence[Sample], detections: Sequence[Detections], names: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return precision (T, R, C, A, M) and recall (T, C, A, M) of faster-coco-eval; -1 without objects.

    The last limit in M is one that no image exceeds; the others are `CAPS`.
    """
    fce = require("faster_coco_eval", extra="evaluate")
    frame = {
        "images": [{"id": i} for i in range(len(truth))],
        "categories": [{"id": c, "name": name} for c, name in enumerate(names)],
    }
    objects = [
        _rows(
            image,
            sample.boxes,
            category_id=sample.labels,
            area=np.where(sample.difficult, IGNORED_AREA, area(sample.boxes.astype(float))),
            iscrowd=sample.crowd.astype(int),
        )
        for image, sample in enumerate(truth)
    ]
    results = [
        _rows(
            image,
            found.boxes,
            category_id=found.labels,
            area=area(found.boxes.astype(float)),
            iscrowd=np.zeros(len(found), int),
            score=found.scores,
        )
        for image, found in enumerate(detections)
    ]
    # ids start at 1, because the evaluator reads 0 as "unmatched"
    sides = [
        fce.COCO({**frame, "annotations": [{"id": i, **row} for i, row in enumerate(chain(*rows), 1)]})
        for rows in (objects, results)
    ]
    run = fce.COCOeval_faster(*sides, iouType="bbox")
    run.params.maxDets = [*CAPS, max([MOST, *map(len, detections)])]
    run.evaluate()
    run.accumulate()
    return run.eval["precision"], run.eval["recall"]


def _rows(image: int, boxes: NDArray[np.float32], **columns: NDArray[Any]) -> Iterator[dict[str, Any]]:
    """Yield one row per box of an image; COCO's boxes are left, top, width, height."""
    exact = boxes.astype(np.float64)
    corner_and_size = np.concatenate([exact[:, :2], exact[:, 2:] - exact[:, :2]], axis=1)
    lists = {name: column.tolist() for name, column in {"bbox": corner_and_size, **columns}.items()}
    for row in range(len(boxes)):
        yield {"image_id": image, **{name: values[row] for name, values in lists.items()}}


def _mean(values: NDArray[np.float64]) -> float:
    """Average the entries other than -1, which stands for no objects; NaN if there are none."""
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else math.nan
