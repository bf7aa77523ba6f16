"""Draw detections and ground truth on an image.

```
  ┌─────┬──────┐
  │ dog │ 0.98 │                detection: solid, with its score
  ├─────┴──────┴──────┐         ┌ ─ ─ ─ ─ ─ ─ ─ ─ ─ ┐
  │                   │
  │                   │         │                   │  ground truth: dashed
  │                   │
  └───────────────────┘         └ ─ ─ ─ ─ ─ ─ ─ ─ ─ ┘
```
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.draw.canvas import Canvas
from lookonce.draw.palette import class_color
from lookonce.samples import Sample


def annotate(
    image: NDArray[np.uint8],
    detections: Detections | None = None,
    truth: Sample | None = None,
    names: Sequence[str] = (),
    *,
    in_place: bool = False,
) -> NDArray[np.uint8]:
    """Return a copy of the image with solid boxes for detections and dashed boxes for ground truth.

    Every box is drawn, the best detection on top. The best detections are labeled first, and a label that
    would hide another label or too much of a box is left out, so that crowded images stay readable.

    Args:
        image: (H, W, 3) uint8 RGB.
        detections: detections by descending score; None for none.
        truth: ground truth; None for none.
        names: class names of the ground truth; empty for those of the detections.
        in_place: whether to draw on the image itself, if it is writable, which saves memory.
    """
    found = Detections.none() if detections is None else detections
    real = Detections.none()
    if truth is not None:
        sure = np.ones(len(truth.labels), np.float32)
        real = Detections(truth.boxes, sure, truth.labels, tuple(names) or found.names)
    sheet = np.require(image, requirements="W") if in_place else image.copy()
    canvas = Canvas(sheet, np.concatenate([found.boxes, real.boxes]))
    for box, label in zip(real.boxes.tolist(), real.labels.tolist(), strict=True):
        canvas.dashed(box, class_color(label))
    for box, label in zip(found.boxes[::-1].tolist(), found.labels[::-1].tolist(), strict=True):
        canvas.solid(box, class_color(label))
    for box, label, score in zip(
        found.boxes.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True
    ):
        canvas.label(box, label, found.name_of(label), f"{score:.2f}")
    for box, label in zip(real.boxes.tolist(), real.labels.tolist(), strict=True):
        canvas.label(box, label, real.name_of(label))
    return canvas.image
