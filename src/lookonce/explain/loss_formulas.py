"""Write out the loss of a cell and anchor with its numbers."""

import numpy as np

from lookonce._counted import counted
from lookonce.explain.records import Explanation
from lookonce.explain.truth_records import Position, Positive, TrueObject, Truth
from lookonce.geometry.boxes import area

CLASSES_SHOWN = 4  # terms of a sum over classes that are written out, the largest ones


def loss_formulas(explanation: Explanation, position: Position) -> tuple[str, ...]:
    """Write out the loss of one position step by step: objectness and, for a positive, box and classes.

    Args:
        explanation: explanation of an annotated image.
        position: (scale, row, column, anchor).

    Raises:
        ValueError: the explanation has no losses.
    """
    truth, number, at = explanation.truth, position[0], position[1:]
    if truth is None or truth.losses is None:
        why = f": {truth.why_no_losses}" if truth else ""
        raise ValueError(f"expected an explanation with losses{why}")
    here, raw = truth.scales[number], explanation.scales[number].raw[at]
    assert here.conf is not None
    assert here.focal is not None
    assert here.cross_entropy is not None
    owner = next(
        (
            (each, positive)
            for each in truth.objects
            for positive in each.positives
            if positive.position == position and positive.replaced_by is None
        ),
        None,
    )
    logit, o, best = float(raw[4]), float(here.target[at]), float(here.best_iou[at])
    nearest = int(here.best_object[at])
    if owner:
        object_name = f"object {owner[0].number}"
        standing = f"positive for {object_name}: counted, whatever its best IoU"
        target = "o = 1" if truth.objectness_target == "one" else f"o = IoU(box, {object_name}) = {o:.4g}"
    else:
        sign = ">=" if best >= truth.ignore_iou else "<"
        why = "in an ignored area" if here.in_area[at] else f"{best:.4g} {sign} {truth.ignore_iou:g}"
        standing = f"background, {why}: " + ("ignored" if here.ignored[at] else "counted")
        target = "o = 0"
    p = 1 / (1 + np.exp(-logit))
    focal, bce, weight = float(here.focal[at]), float(here.cross_entropy[at]), truth.weights.conf
    factors = ("" if weight == 1 else f" * {weight:g}") + (" * 0" if here.ignored[at] else "")
    lines = [
        f"best IoU = {best:.4g}" + (f", with object {nearest}" if nearest >= 0 else ""),
        standing,
        target,
        f"p = σ(to) = σ({logit:.4f}) = {p:.4g}",
        f"(o - p)² = ({o:.4g} - {p:.4g})² = {focal:.4g}",
        f"BCE = -o * log(p) - (1 - o) * log(1 - p) = {o:.4g} * {np.logaddexp(0, -logit):.4g} + {1 - o:.4g}"
        f" * {np.logaddexp(0, logit):.4g} = {bce:.4g}",
        f"conf = (o - p)² * BCE = {focal:.4g} * {bce:.4g}{factors} = {float(here.conf[at]):.4g}",
    ]
    if owner:
        lines += _box_and_classes(explanation, truth, owner[0], owner[1])
    return tuple(lines)


def _box_and_classes(
    explanation: Explanation, truth: Truth, target: TrueObject, positive: Positive
) -> list[str]:
    """Write out the box and class loss of a positive, and the sum of its three terms."""
    losses, terms, weights = positive.losses, positive.class_terms, truth.weights
    assert losses is not None
    assert terms is not None
    left, top, right, bottom = target.input_box
    w, h, (rows, columns) = right - left, bottom - top, explanation.input.target
    both = w * h + float(area(np.array(positive.box)))
    union = both / (1 + positive.iou)  # since I = IoU * U, and I + U is the sum of both areas
    enclosing = float(area(np.array(positive.enclosing)))
    measure = truth.box_measure[:-3].upper() + "IoU"
    times = "" if weights.giou == 1 else f"{weights.giou:g} * "
    classes, s, (on, off) = len(terms), truth.label_smoothing, positive.target_classes
    lines = [
        f"IoU = I / U = {both - union:.1f} / {union:.1f} = {positive.iou:.4g}",
        f"GIoU = IoU - (E - U) / E = {positive.iou:.4g} - ({enclosing:.1f} - {union:.1f}) / {enclosing:.1f}"
        f" = {positive.giou:.4g}",
        f"box scale = 2 - w*h / input area = 2 - {w:.1f} * {h:.1f} / ({columns} * {rows})"
        f" = {positive.box_scale:.4g}",
        f"giou = {times}box scale * (1 - {measure}) = {times}{positive.box_scale:.4g} * (1 - "
        f"{positive.measure:.4g}) = {losses.giou:.4g}",
        f"y = 1 - {s:g} + {s:g} / {classes} = {on:.6g} for class {target.label}, {s:g} / {classes}"
        f" = {off:.6g} for every other class",
    ]
    scale = explanation.scales[positive.position[0]]
    logits = scale.raw[positive.position[1:]][5:]
    order = np.argsort(-terms, kind="stable").tolist()
    exclusive = scale.form == "region"
    entropy = "CE" if exclusive else "BCE"  # mutually exclusive classes share one cross-entropy
    for number in order[:CLASSES_SHOWN]:
        y, t = on if number == target.label else off, float(logits[number])
        if exclusive:
            certain = float(np.logaddexp.reduce(logits) - t)
            lines.append(f"CE of class {number} = {y:.6g} * {certain:.4g} = {terms[number]:.4g}")
            continue
        lines.append(
            f"BCE of class {number} = {y:.6g} * {np.logaddexp(0, -t):.4g} + {1 - y:.6g} * "
            f"{np.logaddexp(0, t):.4g} = {terms[number]:.4g}"
        )
    if rest := order[CLASSES_SHOWN:]:
        lines.append(f"{entropy} of {counted(len(rest), 'other class')} = {float(terms[rest].sum()):.4g}")
    times = "" if weights.prob == 1 else f"{weights.prob:g} * "
    return [
        *lines,
        f"prob = {times}Σ {entropy} over {counted(classes, 'class')} = {losses.prob:.4g}",
        f"giou + conf + prob = {losses.giou:.4g} + {losses.conf:.4g} + {losses.prob:.4g}"
        f" = {losses.total:.4g}",
    ]
