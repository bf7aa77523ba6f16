"""Losses of a network that also learns from another one's maps of the same images.

The loss against the teacher's maps is weighted by the teacher's objectness (Mehta and Ozturk 2018, "Object
detection at 200 frames per second", section 3.2). With t = σ(the teacher's objectness logit), summed
over all cells, anchors and scales of an image:

    giou = t * (2 - w*h / area of the input) * (1 - GIoU(own box, the teacher's box))
    conf = (t - p)^2 * BCE(t)
    prob = t * sum over classes BCE(the teacher's class probability)

These are the terms of `train.loss` with the teacher in place of the ground truth.

Legend: **B** batch, **A** anchors, **C** classes, **S** cells per side.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import cross_entropy

from lookonce.config import LossSettings
from lookonce.darknet.described import decodings_of
from lookonce.metadata import ModelInfo
from lookonce.model.decode import by_anchor, decode_all_boxes, standard
from lookonce.train.loss import Losses, box_terms, conf_terms

UNSURE = 0.01  # objectness of the teacher below which only its objectness is learned


def imitation(
    raw_maps: Sequence[Tensor], taught: Sequence[Tensor], info: ModelInfo, settings: LossSettings
) -> Losses:
    """Compute the losses of a batch against a teacher's maps, weighted as those against the ground truth.

    Args:
        raw_maps: per scale (B, A*(5+C), S, S), finest first.
        taught: raw maps of the teacher, of the same shapes.
        info: description with the anchors, strides and decoding of both.
        settings: weights of the terms, and the measure of the box loss.
    """
    terms = []
    for raw, theirs, anchors, stride, decoding in zip(
        raw_maps, taught, info.anchors, info.strides, decodings_of(info), strict=True
    ):
        mine, told = (standard(by_anchor(each.float(), len(anchors)), decoding) for each in (raw, theirs))
        target = torch.sigmoid(told[..., 4])
        conf = conf_terms(mine[..., 4], target, torch.zeros_like(target, dtype=torch.bool))
        sure = target > UNSURE
        weight, image = target[sure], sure.nonzero()[:, 0]
        boxes, wanted = (decode_all_boxes(each, anchors, stride, decoding)[sure] for each in (mine, told))
        input_area = raw.shape[2] * raw.shape[3] * stride**2
        giou = weight * box_terms(boxes, wanted, input_area, settings.box)
        logits, classes = mine[sure][:, 5:], told[sure][:, 5:]
        if decoding.form == "region":
            prob = cross_entropy(logits, classes.softmax(dim=1), reduction="none")
        else:
            prob = bce(logits, torch.sigmoid(classes), reduction="none").sum(dim=1)
        none = conf.new_zeros(len(raw))
        terms.append(
            Losses(
                settings.giou * none.index_add(0, image, giou),
                settings.conf * conf.sum(dim=(1, 2, 3)),
                settings.prob * none.index_add(0, image, weight * prob),
            )
        )
    return Losses.sum(terms)
