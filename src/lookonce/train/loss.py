"""The three losses of the write-up's `compute_loss`, sparse.

Legend: **B** batch, **A** = 3 anchors, **C** classes, **S** cells a side, **N** truth boxes of the fullest
image, **P** positives.

Per image, with o = 1 on positives and 0 elsewhere, p = σ(objectness logit):

    giou = sum over positives (2 - w*h / area of the input) * (1 - GIoU(decoded box, truth))
    conf = sum over all cells (o - p)^2 * BCE(o) * [positive, or best IoU with any truth < ignore threshold]
    prob = sum over positives and classes BCE(smoothed label)

Each is summed over the scales and averaged over the batch. Where we differ from the reference, by decision:
GIoU is evaluated on positives only (its fault 1, NaN); the ignore test sees every box of the image (11).
The settings can put DIoU or CIoU in GIoU's place, and the IoU of a positive's box in place of its o = 1; the
names stay.
All arithmetic is float32, whatever the network runs in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from lookonce.config import LossSettings
from lookonce.data.loader import BatchPositives
from lookonce.geometry.boxes import BOX_MEASURES, area, iou
from lookonce.model.decode import by_anchor, decode_all_boxes, decode_boxes

Anchors = Sequence[Sequence[tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class Losses:
    """Loss terms of each image of a batch, (B,) each, still attached to the graph."""

    giou: Tensor
    conf: Tensor
    prob: Tensor

    @classmethod
    def none(cls) -> Self:
        """Those of no image."""
        return cls(torch.zeros(0), torch.zeros(0), torch.zeros(0))

    def per_image(self) -> Tensor:
        """The three terms added: (B,)."""
        return self.giou + self.conf + self.prob

    def total(self, images: int | None = None) -> Tensor:
        """The number to minimise: the mean over the images.

        Args:
            images: to divide by, where these are a part of more.
        """
        return self.per_image().sum() / (len(self.giou) if images is None else images)


def compute_losses(
    raw_maps: Sequence[Tensor],
    positives: BatchPositives,
    truth: Tensor,
    anchors: Anchors,
    strides: Sequence[int],
    settings: LossSettings,
) -> Losses:
    """Losses of a batch, summed over the scales.

    Args:
        raw_maps: per scale (B, A*(5+C), S, S), finest first.
        positives: the assigned cells and anchors.
        truth: (B, N, 4) xyxy in input pixels; images with fewer boxes are filled up with zeros.
        anchors: per scale, anchor sides in input pixels.
        strides: per scale.
        settings: weights, ignore threshold, label smoothing.
    """
    scales = [
        scale_losses(raw, positives.on_scale(s), truth, anchors[s], strides[s], settings)
        for s, raw in enumerate(raw_maps)
    ]
    return Losses(
        giou=settings.giou * torch.stack([scale.giou for scale in scales]).sum(0),
        conf=settings.conf * torch.stack([scale.conf for scale in scales]).sum(0),
        prob=settings.prob * torch.stack([scale.prob for scale in scales]).sum(0),
    )


def scale_losses(
    raw: Tensor,
    positives: BatchPositives,
    truth: Tensor,
    anchors: Sequence[tuple[float, float]],
    stride: int,
    settings: LossSettings,
) -> Losses:
    """Losses of one scale, unweighted; see `compute_losses`."""
    maps = by_anchor(raw.float(), len(anchors))  # (B, S, S, A, 5+C)
    cell = positives.image, positives.row, positives.column, positives.anchor
    picked = maps[cell]  # (P, 5+C)
    sides = torch.tensor(anchors, device=raw.device)[positives.anchor]  # (P, 2)
    boxes = decode_boxes(picked, positives.column, positives.row, sides, stride)
    input_area = raw.shape[2] * raw.shape[3] * stride**2
    logits = maps[..., 4]
    target = torch.zeros_like(logits)
    target[cell] = 1.0 if settings.objectness == "one" else iou(boxes.detach(), positives.box)
    ignored = best_iou(decode_all_boxes(maps.detach(), anchors, stride), truth) >= settings.ignore_iou
    ignored[cell] = False  # whatever its target, a positive counts
    return Losses(
        giou=_sum_by_image(
            box_terms(boxes, positives.box, input_area, settings.box), positives.image, len(raw)
        ),
        conf=conf_terms(logits, target, ignored).sum(dim=(1, 2, 3)),
        prob=_sum_by_image(
            prob_terms(picked[:, 5:], positives.label, settings.label_smoothing), positives.image, len(raw)
        ),
    )


def box_terms(boxes: Tensor, truth: Tensor, input_area: int, measure: str = "giou") -> Tensor:
    """(P, 4), (P, 4) -> (P,): 1 - GIoU, DIoU or CIoU; small objects weigh up to twice as much as large."""
    weight = 2 - area(truth) / input_area
    return weight * (1 - BOX_MEASURES[measure](boxes, truth))


def conf_terms(logits: Tensor, target: Tensor, ignored: Tensor) -> Tensor:
    """(B, S, S, A) each -> the same: focal objectness with gamma 2 (Lin et al. 2017).

    What is ignored does not count; no positive should be. The gradient flows through the focal factor too, as
    in the reference.
    """
    focal = (target - torch.sigmoid(logits)) ** 2
    return focal * bce(logits, target, reduction="none") * ~ignored


def prob_terms(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """(P, C), (P,) -> (P,): independent classes, target (1 - smoothing) * one-hot + smoothing / C."""
    num_classes = logits.shape[1]
    target = torch.full_like(logits, smoothing / num_classes)
    target.scatter_(1, labels[:, None], 1 - smoothing + smoothing / num_classes)
    return bce(logits, target, reduction="none").sum(dim=1)


@torch.no_grad()
def best_iou(boxes: Tensor, truth: Tensor) -> Tensor:
    """(B, S, S, A, 4), (B, N, 4) -> (B, S, S, A): IoU of each decoded box with the truth it fits best."""
    best = boxes.new_zeros(boxes.shape[:-1])
    for one in truth.unbind(dim=1):  # a loop over N keeps the memory at one box an image
        torch.maximum(best, iou(boxes, one[:, None, None, None, :]), out=best)
    return best


def _sum_by_image(terms: Tensor, image: Tensor, batch: int) -> Tensor:
    """(P,) -> (B,)."""
    return terms.new_zeros(batch).index_add(0, image, terms)
