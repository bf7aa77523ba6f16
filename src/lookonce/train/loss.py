"""Compute the three losses of the write-up's `compute_loss`, from sparse positives.

Legend: **B** batch, **A** anchors, **C** classes, **S** cells per side, **N** most boxes per image,
**P** positives.

Per image, with o = 1 on positives and 0 elsewhere, p = σ(objectness logit):

    giou = sum over positives (2 - w*h / area of the input) * (1 - GIoU(decoded box, ground truth))
    conf = sum over all cells (o - p)^2 * BCE(o) * [positive, or best IoU with any box < ignore threshold]
    prob = sum over positives and classes BCE(smoothed label)

Each term is summed over the scales and averaged over the batch. Two decisions differ from the reference: GIoU
is computed on positives only (its fault 1, NaN), and the ignore test uses every box of the image (fault 11).

In an ignored area, no term has a gradient. In an area where only some classes may lack boxes, a position that
the network gives a score of 0.1 or more for such a class does not count as background: its objectness has no
loss. Instead, each of the other classes has the loss s^2 * BCE(s, 0) with its score s = p * σ(class logit),
whose gradient flows only through the class logit.

The settings can replace GIoU with DIoU or CIoU, and the target o = 1 with the IoU of the positive's box; the
names of the terms stay the same. All arithmetic is float32, whatever the precision of the network.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import log_softmax

from lookonce.config import LossSettings
from lookonce.data.assign import UNSURE, Positives
from lookonce.geometry.boxes import BOX_MEASURES, area, iou
from lookonce.geometry.decode import YOLO, Decoding
from lookonce.model.decode import by_anchor, decode_all_boxes, decode_boxes, standard

SMALLEST_REST = 1e-30  # lower bound of 1 - score, so that its logarithm is finite
Anchors = Sequence[Sequence[tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class Losses:
    """Loss terms of each image in a batch, (B,) each, attached to the autograd graph."""

    giou: Tensor
    conf: Tensor
    prob: Tensor

    @classmethod
    def none(cls) -> Self:
        """Return the losses of an empty batch."""
        return cls(torch.zeros(0), torch.zeros(0), torch.zeros(0))

    @classmethod
    def sum(cls, parts: Sequence[Self]) -> Self:
        """Add the losses of the same images, term by term."""
        terms = ([getattr(each, name) for each in parts] for name in ("giou", "conf", "prob"))
        return cls(*(torch.stack(each).sum(0) for each in terms))

    def weighted(self, settings: LossSettings) -> Self:
        """Multiply each term by its weight."""
        cls = type(self)
        return cls(settings.giou * self.giou, settings.conf * self.conf, settings.prob * self.prob)

    def per_image(self) -> Tensor:
        """Return the sum of the three terms: (B,)."""
        return self.giou + self.conf + self.prob

    def total(self, images: int | None = None) -> Tensor:
        """Return the loss to minimize: the mean over the images.

        Args:
            images: number of images to divide by if these are only a part of a batch; None for B.
        """
        return self.per_image().sum() / (len(self.giou) if images is None else images)


@dataclass(frozen=True, slots=True, eq=False)
class ScaleTerms:
    """Unweighted loss terms of one scale for each position.

    Attributes:
        positives: positives of this scale.
        boxes: (P, 4) decoded boxes of the positives, xyxy in input pixels.
        best_iou: (B, S, S, A) highest IoU of each decoded box with a box of its image.
        target: (B, S, S, A) objectness target o.
        ignored: (B, S, S, A) positions whose objectness has no loss.
        giou: (P,) box term.
        conf: (B, S, S, A) objectness term.
        classes: (P, C) class term of each class.
        absent: (B, S, S, A) class term of background in areas where some classes may lack boxes; None if
            there is no such area.
    """

    positives: Positives[Tensor]
    boxes: Tensor
    best_iou: Tensor
    target: Tensor
    ignored: Tensor
    giou: Tensor
    conf: Tensor
    classes: Tensor
    absent: Tensor | None = None

    @property
    def prob(self) -> Tensor:
        """Return the class term, (P,)."""
        return self.classes.sum(dim=1)

    @property
    def background(self) -> Tensor:
        """Return the positions that are neither positive nor ignored, (B, S, S, A)."""
        background = ~self.ignored
        of = self.positives
        background[of.image, of.row, of.column, of.anchor] = False
        return background

    def sums(self) -> Losses:
        """Sum each term over the positions of each image."""
        image = self.positives.image
        none = self.giou.new_zeros(len(self.conf))
        prob = none.index_add(0, image, self.prob)
        return Losses(
            giou=none.index_add(0, image, self.giou),
            conf=self.conf.sum(dim=(1, 2, 3)),
            prob=prob if self.absent is None else prob + self.absent.sum(dim=(1, 2, 3)),
        )


def compute_losses(
    raw_maps: Sequence[Tensor],
    positives: Positives[Tensor],
    truth: Tensor,
    anchors: Anchors,
    strides: Sequence[int],
    settings: LossSettings,
    ignored: Sequence[Tensor] = (),
    decodings: Sequence[Decoding] | None = None,
) -> Losses:
    """Compute the losses of a batch, summed over the scales and weighted.

    Args:
        raw_maps: one (B, A*(5+C), S, S) per scale, finest first.
        positives: assigned cells and anchors.
        truth: (B, N, 4) xyxy in input pixels; images with fewer boxes are padded with zeros.
        anchors: (width, height) of each anchor per scale, in input pixels.
        strides: input pixels per cell, per scale.
        settings: weights of the terms, ignore threshold and label smoothing.
        ignored: cells in ignored areas per scale, as in `data.loader.Batch`; empty if there are none.
        decodings: decoding of each scale; None uses YOLOv3's for all scales.
    """
    decodings = decodings or [YOLO] * len(raw_maps)
    scales = [
        scale_terms(
            raw, positives.on_scale(s), truth, anchors[s], strides[s], settings, cells, decodings[s]
        ).sums()
        for s, (raw, cells) in enumerate(zip_longest(raw_maps, ignored))
    ]
    return Losses.sum(scales).weighted(settings)


def scale_terms(
    raw: Tensor,
    positives: Positives[Tensor],
    truth: Tensor,
    anchors: Sequence[tuple[float, float]],
    stride: int,
    settings: LossSettings,
    cells: Tensor | None = None,
    decoding: Decoding = YOLO,
) -> ScaleTerms:
    """Compute the loss terms of one scale; for the arguments, see `compute_losses`.

    `positives` and `cells` belong to this scale; None for `cells` means that there is no ignored area.
    """
    maps = standard(by_anchor(raw.float(), len(anchors)), decoding)  # (B, S, S, A, 5+C)
    cell = positives.image, positives.row, positives.column, positives.anchor
    picked = maps[cell]  # (P, 5+C)
    sides = torch.tensor(anchors, device=raw.device)[positives.anchor]  # (P, 2)
    boxes = decode_boxes(picked, positives.column, positives.row, sides, stride, decoding)
    input_area = raw.shape[2] * raw.shape[3] * stride**2
    logits = maps[..., 4]
    target = torch.zeros_like(logits)
    target[cell] = 1.0 if settings.objectness == "one" else iou(boxes.detach(), positives.box)
    best = best_iou(decode_all_boxes(maps.detach(), anchors, stride, decoding), truth)
    ignored = best >= settings.ignore_iou
    classes, absent = class_terms(picked[:, 5:], positives.label, settings.label_smoothing, decoding), None
    if cells is not None:
        nothing, missing = cells[..., 0], cells[:, :, :, None, 1:]  # (B, S, S), (B, S, S, 1, C)
        unsure = may_show(maps.detach(), missing, decoding) & ~nothing[..., None]
        background = unsure & ~ignored
        background[cell] = False
        absent = absent_terms(maps, ~missing, background, decoding)
        ignored |= nothing[..., None] | unsure
    ignored[cell] = False  # a positive counts, whatever its target
    return ScaleTerms(
        positives=positives,
        boxes=boxes,
        best_iou=best,
        target=target,
        ignored=ignored,
        giou=box_terms(boxes, positives.box, input_area, settings.box),
        conf=conf_terms(logits, target, ignored),
        classes=classes,
        absent=absent,
    )


def box_terms(boxes: Tensor, truth: Tensor, input_area: int, measure: str) -> Tensor:
    """Compute 1 - GIoU, DIoU or CIoU, weighted up to double for small objects: (P, 4), (P, 4) -> (P,)."""
    weight = 2 - area(truth) / input_area
    return weight * (1 - BOX_MEASURES[measure](boxes, truth))


def conf_terms(logits: Tensor, target: Tensor, ignored: Tensor) -> Tensor:
    """Compute the focal loss of objectness with gamma 2 (Lin et al. 2017): (B, S, S, A) each -> the same.

    Ignored positions have no loss; a positive is never ignored. As in the reference, the gradient also flows
    through the focal factor.
    """
    focal = (target - torch.sigmoid(logits)) ** 2
    return focal * bce(logits, target, reduction="none") * ~ignored


def class_terms(logits: Tensor, labels: Tensor, smoothing: float, decoding: Decoding = YOLO) -> Tensor:
    """Compute the binary cross-entropy of each class: (P, C), (P,) -> (P, C).

    The classes of a [region] are mutually exclusive, so their terms are those of a softmax cross-entropy.
    """
    if decoding.form == "region":
        return -smooth_labels(labels, logits, smoothing) * log_softmax(logits, dim=1)
    return bce(logits, smooth_labels(labels, logits, smoothing), reduction="none")


def may_show(maps: Tensor, missing: Tensor, decoding: Decoding = YOLO) -> Tensor:
    """Return the positions that may show an unannotated object: (B, S, S, A, 5+C) -> (B, S, S, A).

    At these positions, the network itself gives a class that may lack boxes a score of `UNSURE` or more. All
    others are background as usual, because a network trained without background finds objects everywhere. A
    class that is annotated in other images still reaches that score, because the focal loss gives its few
    boxes in those images more weight than the many background positions in these.

    Args:
        maps: raw map by anchor.
        missing: (B, S, S, 1, C) classes that may lack boxes.
        decoding: decoding of the scale.
    """
    score = torch.sigmoid(maps[..., 4:5]) * class_probabilities(maps[..., 5:], decoding)
    return ((score >= UNSURE) & missing).any(dim=-1)


def class_probabilities(logits: Tensor, decoding: Decoding) -> Tensor:
    """Compute the sigmoid of each class or, in a [region], the softmax: (..., C) -> (..., C)."""
    return torch.softmax(logits, dim=-1) if decoding.form == "region" else torch.sigmoid(logits)


def absent_terms(maps: Tensor, classes: Tensor, background: Tensor, decoding: Decoding = YOLO) -> Tensor:
    """Compute the focal cross-entropy of scores that should be 0: (B, S, S, A, 5+C) -> (B, S, S, A).

    Args:
        maps: raw map by anchor.
        classes: (B, S, S, 1, C) classes known to be absent.
        background: (B, S, S, A) positions that have this loss.
        decoding: decoding of the scale.
    """
    objectness, logits = maps[..., 4:5].detach(), maps[..., 5:]
    probability = class_probabilities(logits, decoding)
    other = 1 - probability if decoding.form == "region" else torch.sigmoid(-logits)
    score = torch.sigmoid(objectness) * probability
    # 1 - score as a sum of two positive numbers, which stays accurate for a score near 1
    rest = torch.sigmoid(-objectness) + torch.sigmoid(objectness) * other
    terms = -(score**2) * rest.clamp_min(SMALLEST_REST).log()
    return (terms * classes).sum(dim=-1) * background


def smooth_labels(labels: Tensor, logits: Tensor, smoothing: float) -> Tensor:
    """Return the class targets (1 - smoothing) * one-hot + smoothing / C: (P,), (P, C) -> (P, C)."""
    share = smoothing / logits.shape[1]
    return torch.full_like(logits, share).scatter_(1, labels[:, None], 1 - smoothing + share)


@torch.no_grad()
def best_iou(boxes: Tensor, truth: Tensor) -> Tensor:
    """Return each decoded box's highest IoU with the truth: (B, S, S, A, 4), (B, N, 4) -> (B, S, S, A)."""
    best = boxes.new_zeros(boxes.shape[:-1])
    for one in truth.unbind(dim=1):  # a loop over N instead of broadcasting saves memory
        torch.maximum(best, iou(boxes, one[:, None, None, None, :]), out=best)
    return best
