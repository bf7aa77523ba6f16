"""Find labels that disagree with a trained model: missing boxes, boxes without a detection, other classes."""

from collections.abc import Iterator

import numpy as np

from lookonce.detections import Detections
from lookonce.doctor.findings import Finding, box_place, corners
from lookonce.evaluate.classes import SharedClasses
from lookonce.evaluate.inputs import in_ignored_areas
from lookonce.evaluate.matching import in_crowd
from lookonce.geometry.pairs import overlapping_pairs
from lookonce.runtime.detector import Detector
from lookonce.samples import Sample, SampleSet

SURE = 0.6  # score from which a detection is trusted
ANYTHING = 0.05  # score threshold of the detector, so that even a weak detection supports a box
NEAR = 0.3  # IoU from which a detection counts as near a box
ON = 0.5  # IoU from which a detection matches a box


def label_doubts(detector: Detector, sample_set: SampleSet, sample: Sample) -> Iterator[Finding]:
    """Detect on one image, and yield findings about boxes that disagree with the detections.

    Args:
        detector: detector with the score threshold `ANYTHING`.
        sample_set: set that the sample belongs to.
        sample: image with its boxes.

    Raises:
        ConfigError: the model and the data have no class in common.
        ImageError: the image cannot be read.
    """
    shared = SharedClasses.match(detector.names, sample_set.names, sample_set.origin or sample.path)
    return compare_labels(sample_set, sample, shared.detections(detector(sample.path), to=sample_set.names))


def compare_labels(sample_set: SampleSet, sample: Sample, detections: Detections) -> Iterator[Finding]:
    """Yield findings about boxes that disagree with detections; labels of both index its names."""
    pairs = overlapping_pairs(detections.boxes, sample.boxes, NEAR)
    ignored = in_crowd(sample, detections, ON) | in_ignored_areas(sample, detections)
    lonely = (detections.scores >= SURE) & ~ignored
    lonely[pairs.first] = False
    for d in np.flatnonzero(lonely).tolist():
        score, box = float(detections.scores[d]), tuple(detections.boxes[d].tolist())
        sides = ", ".join(f"{side:.0f}" for side in box)
        what = f"{sample_set.names[int(detections.labels[d])]} {score:.2f} at [{sides}], but no box"
        yield Finding("missing-box", str(sample.path), what, sample.path, (box,), weight=score)
    on = pairs.only(pairs.iou >= ON)
    agrees = detections.labels[on.first] == sample.labels[on.second]
    agreed, seen = set(on.second[agrees].tolist()), set(pairs.second.tolist())
    rivals: dict[int, int] = {}  # by box: the highest-scoring detection of another class that matches it
    others = on.only(~agrees & (detections.scores[on.first] >= SURE))
    for d, i in zip(others.first.tolist(), others.second.tolist(), strict=True):
        if i not in rivals or detections.scores[d] > detections.scores[rivals[i]]:
            rivals[i] = d
    for i in np.flatnonzero(~sample.crowd).tolist():
        place, box = box_place(sample_set, sample, i), corners(sample, [i])
        name = sample_set.names[int(sample.labels[i])]
        if i not in seen:
            yield Finding("unfound-box", place, f"{name}: no detection near it", sample.path, box)
        elif i in rivals and i not in agreed:
            rival, score = rivals[i], float(detections.scores[rivals[i]])
            detected = sample_set.names[int(detections.labels[rival])]
            what = f"labeled {name!r}, detected as {detected!r} {score:.2f}"
            yield Finding("doubtful-class", place, what, sample.path, box, weight=score)
