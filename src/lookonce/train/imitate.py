"""Compute the losses of a network that is also trained on the raw maps of another network, its teacher.

This is knowledge distillation. The loss against the teacher's maps is weighted by the teacher's objectness
(Mehta and Ozturk 2018, "Object detection at 200 frames per second", section 3.2). With t = σ(the teacher's
objectness logit), the terms are sums over all cells, anchors and scales of an image:

    giou = t * (2 - w*h / area of the input) * (1 - GIoU(own box, the teacher's box))
    conf = (t - p)^2 * BCE(t)
    prob = t * sum over classes BCE(the teacher's class probability)

These are the terms of `train.loss` with the teacher in place of the ground truth. They have two uses:

- `lookonce slim`: a smaller network is trained on the annotations and, at every position, on the original.
- `--keep-classes`: a model to which classes are added is trained on the annotated objects and, in the rest of
  each image, on the old model, because the old classes have no boxes in these images.

Legend: **B** batch, **A** anchors, **C** classes, **S** cells per side.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import log_softmax

from lookonce.config import LossSettings
from lookonce.darknet.described import decodings_of
from lookonce.data.assign import Positives
from lookonce.geometry.decode import Decoding
from lookonce.metadata import ModelInfo
from lookonce.model.decode import by_anchor, decode_all_boxes, standard
from lookonce.train.loss import Losses, box_terms, class_probabilities, conf_terms, scale_terms

UNSURE = 0.01  # objectness of the teacher up to which only the objectness term counts
KEPT = 0.1  # weight of an old model's box and class terms; at 1, added classes are learned slowly


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """Teacher of a network in training.

    Attributes:
        network: network whose raw maps have the same shapes as those of the network in training.
        classes: class numbers to learn from the teacher because the images lack their boxes; None for all
            classes, if the images have boxes of all classes.
    """

    network: nn.Module
    classes: tuple[int, ...] | None = None


def imitation(
    raw_maps: Sequence[Tensor], taught: Sequence[Tensor], info: ModelInfo, settings: LossSettings
) -> Losses:
    """Compute the weighted losses of a batch against a teacher's maps.

    Args:
        raw_maps: one (B, A*(5+C), S, S) per scale, finest first.
        taught: raw maps of the teacher, of the same shapes.
        info: description of the model; anchors, strides and decoding are those of both networks.
        settings: weights of the terms, and type of the box loss.
    """
    scales = [
        imitated(raw, teacher, anchors, stride, settings, decoding)
        for raw, teacher, anchors, stride, decoding in zip(
            raw_maps, taught, info.anchors, info.strides, decodings_of(info), strict=True
        )
    ]
    return Losses.sum(scales).weighted(settings)


def continuation(
    raw_maps: Sequence[Tensor],
    taught: Sequence[Tensor],
    classes: tuple[int, ...],
    positives: Positives[Tensor],
    truth: Tensor,
    info: ModelInfo,
    settings: LossSettings,
    ignored: Sequence[Tensor] = (),
) -> Losses:
    """Compute the losses of a batch in which some classes are annotated and a teacher predicts the others.

    Positives have their usual terms. Background positions have the terms against the teacher's maps in place
    of an objectness target of 0; their box and class terms have the weight `KEPT`. Ignored positions have no
    loss.

    Args:
        raw_maps: one (B, A*(5+C), S, S) per scale, finest first.
        taught: raw maps of the teacher, of the same shapes.
        classes: numbers of the classes that the teacher predicts and that are not annotated.
        positives: assigned cells and anchors, as for `train.loss.compute_losses`.
        truth: (B, N, 4) xyxy in input pixels.
        info: description of the model; anchors, strides and decoding are those of both networks.
        settings: weights of the terms, and thresholds.
        ignored: cells in ignored areas per scale, as in `data.loader.Batch`; empty if there are none.
    """
    decodings, scales = decodings_of(info), []
    for s, (raw, teacher, cells) in enumerate(zip_longest(raw_maps, taught, ignored)):
        of = info.anchors[s], info.strides[s], settings
        terms = scale_terms(raw, positives.on_scale(s), truth, *of, cells, decodings[s])
        background = terms.background
        objects = replace(terms, conf=terms.conf * ~background, absent=None)
        old = imitated(raw, teacher, *of, decodings[s], background, classes)
        scales += [objects.sums(), Losses(KEPT * old.giou, old.conf, KEPT * old.prob)]
    return Losses.sum(scales).weighted(settings)


def imitated(
    raw: Tensor,
    teacher: Tensor,
    anchors: Sequence[tuple[float, float]],
    stride: int,
    settings: LossSettings,
    decoding: Decoding,
    counted: Tensor | None = None,
    classes: Sequence[int] | None = None,
) -> Losses:
    """Compute the unweighted losses of one scale against the teacher's map.

    Args:
        raw: (B, A*(5+C), S, S) raw map.
        teacher: raw map of the teacher, of the same shape.
        anchors: anchors of the scale, in input pixels.
        stride: input pixels per cell.
        settings: settings that select the type of the box loss.
        decoding: decoding of the scale.
        counted: (B, S, S, A) positions that have a loss; None for all.
        classes: class numbers to learn from the teacher, whose objectness is then multiplied by the share
            of these classes in its class probabilities; None for all.
    """
    student, taught = (standard(by_anchor(each.float(), len(anchors)), decoding) for each in (raw, teacher))
    target, probability = torch.sigmoid(taught[..., 4]), class_probabilities(taught[..., 5:], decoding)
    if classes is not None:
        known = torch.zeros_like(probability)
        known[..., classes] = probability[..., classes]
        target = target * known.sum(dim=-1) / probability.sum(dim=-1).clamp_min(torch.finfo().tiny)
        probability = known
    if counted is None:
        counted = torch.ones_like(target, dtype=torch.bool)
    conf = conf_terms(student[..., 4], target, ~counted)
    sure = (target > UNSURE) & counted
    weight, image = target[sure], sure.nonzero()[:, 0]
    boxes, wanted = (decode_all_boxes(each, anchors, stride, decoding)[sure] for each in (student, taught))
    giou = weight * box_terms(boxes, wanted, raw.shape[2] * raw.shape[3] * stride**2, settings.box)
    logits = student[sure][:, 5:]
    if decoding.form == "region":
        share = probability[sure] / probability[sure].sum(dim=1, keepdim=True)
        prob = -(share * log_softmax(logits, dim=1)).sum(dim=1)
    else:
        prob = bce(logits, probability[sure], reduction="none").sum(dim=1)
    none = conf.new_zeros(len(raw))
    return Losses(
        none.index_add(0, image, giou),
        conf.sum(dim=(1, 2, 3)),
        none.index_add(0, image, weight * prob),
    )
