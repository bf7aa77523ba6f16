"""Turn decoded candidates into detections in pixels of the original image.

Legend: **K** candidates of all scales (10,647 at 416), **C** classes, **M** candidates above the score
threshold, **N** detections.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.geometry.boxes import is_empty
from lookonce.geometry.letterbox import Letterbox
from lookonce.geometry.nms import nms, soft_nms
from lookonce.runtime.options import DetectOptions

DEFAULTS = DetectOptions()


def postprocess(
    candidates: NDArray[np.float32],
    letterbox: Letterbox,
    options: DetectOptions = DEFAULTS,
    names: tuple[str, ...] = (),
) -> Detections:
    """Filter candidates by score, map their boxes to the original image, and apply NMS.

    Boxes are clipped at the image border before NMS, as in the reference: two boxes that differ only outside
    the image are one object.

    Args:
        candidates: (K, 5+C) xyxy in input pixels, objectness, class probabilities.
        letterbox: how the image was fitted into the input.
        options: thresholds, classes and kind of NMS.
        names: class names, to which `options.classes` refers.

    Returns:
        Detections by descending score; equal scores keep the order of the candidates.
    """
    return suppress(locate(candidates, letterbox, options, names), options)


def locate(
    candidates: NDArray[np.float32], letterbox: Letterbox, options: DetectOptions, names: tuple[str, ...]
) -> Detections:
    """Return the candidates above the score threshold, in order, with boxes in pixels of the original image.

    A candidate (K, 5+C) counts only for its most probable class (the first on ties), unless
    `options.multi_label` is set.
    """
    thresholds = np.broadcast_to(options.thresholds(names), candidates.shape[1] - 5)  # (C,)
    # A score is at most the objectness, so the classes of most rows need not be read.
    rows = candidates.take(np.flatnonzero(candidates[:, 4] > thresholds.min(initial=1)), axis=0)  # (M, 5+C)
    if options.multi_label:
        found, labels = np.nonzero(rows[:, 4:5] * rows[:, 5:] > thresholds)
        rows = rows[found]
    else:
        labels = rows[:, 5:].argmax(axis=1)
    scores = rows[:, 4] * rows[np.arange(len(rows)), 5 + labels]
    boxes = letterbox.boxes_out(rows[:, :4])
    kept = (scores > thresholds[labels]) & ~is_empty(boxes)
    if (wanted := options.class_numbers(names)) is not None:
        kept &= np.isin(labels, wanted)
    return Detections(boxes[kept], scores[kept], labels[kept], names, letterbox.source)


def suppress(detections: Detections, options: DetectOptions) -> Detections:
    """Apply NMS or soft-NMS (`geometry.nms`); return the rest by descending score."""
    labels = None if options.agnostic else detections.labels
    if not options.soft_nms:
        return detections[nms(detections.boxes, detections.scores, labels, options.iou)]
    thresholds = options.thresholds(detections.names)
    kept, scores = soft_nms(detections.boxes, detections.scores, labels, float(thresholds.min(initial=1)))
    lowered = replace(detections[kept], scores=scores)
    return lowered if len(thresholds) == 1 else lowered[scores > thresholds[lowered.labels]]
