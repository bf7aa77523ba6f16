"""Write the assignment, losses and verdicts of an explanation as Markdown."""

from collections.abc import Iterator

import numpy as np

from lookonce.explain.loss_formulas import loss_formulas
from lookonce.explain.records import Explanation
from lookonce.explain.stages import DETECTION_STAGES, OBJECT_STAGES
from lookonce.explain.tables import box_text, position_text, prose, table, text
from lookonce.explain.truth_records import Position, Terms, Truth

WRITTEN_OUT = 6  # positives that are written out, the costliest ones; the page and the JSON have all
LARGEST = 15  # background positions that are listed, those with the largest objectness loss


def assignment_lines(explanation: Explanation, truth: Truth) -> Iterator[str]:
    """Yield the lines of stage 6: the positives, the IoUs with all anchors, and the ignored positions."""
    yield from (*prose(text(truth.objective)), "")
    headings = ["object", "class", "box in the input", "anchor", "cell", "IoU", "why", "target tx ty tw th"]
    rows = []
    for target in truth.objects:
        for positive in target.positives:
            scale, row, column, anchor = positive.position
            sides = explanation.scales[scale].anchors[anchor]
            by = "" if positive.replaced_by is None else f", replaced by object {positive.replaced_by}"
            rows.append(
                (
                    target.number,
                    text(target.name),
                    box_text(target.input_box),
                    f"stride {explanation.scales[scale].stride}, {sides[0]:g} x {sides[1]:g}",
                    f"{row}, {column}",
                    f"{positive.anchor_iou:.3f}",
                    positive.reason + by,
                    ", ".join("border" if t is None else f"{t:.3f}" for t in positive.target_raw),
                )
            )
    yield from table(headings, rows)
    yield ""
    anchors = [f"{w:g} x {h:g}" for scale in explanation.scales for w, h in scale.anchors]
    ious = (
        (target.number, *(f"{iou:.3f}" for iou in target.anchor_ious))
        for target in truth.objects
        if target.cells
    )
    yield from table(("object, IoU with", *anchors), ious)
    ignored = sum(int(scale.ignored.sum()) for scale in truth.scales)
    positives = sum(int(scale.positive.sum()) for scale in truth.scales)
    yield ""
    cells = sum(int(scale.in_area.any(axis=-1).sum()) for scale in truth.scales)
    areas = f", or their cell touches an ignored area: {cells} cells do" if cells else ""
    yield (
        f"{positives} positives ({truth.lost_positives} more were replaced), {ignored} positions ignored: "
        f"their box has an IoU of {truth.ignore_iou:g} or more with an object{areas}."
    )


def loss_lines(explanation: Explanation, truth: Truth) -> Iterator[str]:
    """Yield the lines of stage 7: settings, shapes, sums, and the formulas of single positions."""
    settings = ((each.name, each.value, each.classic, each.default) for each in truth.settings)
    yield from table(("setting", "here", "classic recipe", "default recipe"), settings)
    yield ""
    shapes = ((text(each.tensor), text(each.axes), str(each.shape), text(each.text)) for each in truth.shapes)
    yield from table(("tensor", "axes", "shape here", "contents"), shapes)
    yield ""
    if truth.losses is None:
        yield f"Not computed: {text(truth.why_no_losses)}."
        return
    rows = [
        (f"stride {scale.stride}", *_terms(terms))
        for scale, terms in zip(explanation.scales, truth.losses.scales, strict=True)
    ]
    headings = ("giou", "conf", "prob", "sum")
    yield from table(("scale", *headings), [*rows, ("all", *_terms(truth.losses.total))])
    yield ""
    objects = [
        (each.number, text(each.name), *_terms(each.losses))
        for each in truth.objects
        if each.losses is not None
    ]
    objects += [
        ("", "background", *_terms(truth.losses.background)),
        ("", "all", *_terms(truth.losses.total)),
    ]
    yield from table(("object", "class", *headings), objects, whole=True)
    yield from _background(explanation, truth)
    standing = [
        (positive.losses.total, each, positive.position)
        for each in truth.objects
        for positive in each.positives
        if positive.losses is not None
    ]
    standing.sort(key=lambda each: -each[0])
    if standing:
        first = "Each positive" if len(standing) <= WRITTEN_OUT else f"The {WRITTEN_OUT} costliest positives"
        yield from ("", f"{first}, written out:")
    for _, each, position in standing[:WRITTEN_OUT]:
        about = f"object {each.number}, class {each.label} ({text(each.name)})"
        yield from ("", f"{position_text(explanation.scales, position)}; {about}:", "")
        yield from (f"    {line}" for line in loss_formulas(explanation, position))


def _background(explanation: Explanation, truth: Truth) -> Iterator[str]:
    """Yield lines for the costliest background positions, the sum of the others, and ignored positions."""
    positions: list[tuple[float, Position]] = []
    ignored: list[tuple[float, Position]] = []
    for number, scale in enumerate(truth.scales):
        assert scale.conf is not None
        for row_number, column, anchor in np.argwhere(~scale.positive).tolist():
            at = row_number, column, anchor
            listed, value = (ignored, scale.best_iou) if scale.ignored[at] else (positions, scale.conf)
            listed.append((float(value[at]), (number, *at)))

    def row(position: Position) -> tuple[object, ...]:
        at, scale = position[1:], truth.scales[position[0]]
        assert scale.conf is not None
        assert scale.focal is not None
        assert scale.cross_entropy is not None
        p = 1 / (1 + np.exp(-float(explanation.scales[position[0]].raw[(*at, 4)])))
        numbers = (p, scale.focal[at], scale.cross_entropy[at], scale.conf[at])
        return (
            position_text(explanation.scales, position),
            f"{scale.best_iou[at]:.3f}",
            "" if scale.best_object[at] < 0 else int(scale.best_object[at]),
            "area" if scale.in_area[at] else "yes" if scale.ignored[at] else "no",
            *(f"{each:.4g}" for each in numbers),
        )

    headings = ("background", "best IoU", "with object", "ignored", "p", "(0 - p)²", "BCE", "conf")
    for listed in (positions, ignored):
        listed.sort(key=lambda each: -each[0])
    yield ""
    yield from table(headings, (row(position) for _, position in (*positions[:LARGEST], *ignored[:LARGEST])))
    rest = sum(value for value, _ in positions[LARGEST:])
    yield ""
    yield (
        f"{max(len(positions) - LARGEST, 0):,} more background positions cost {rest:.4f} together; "
        f"{len(ignored)} are ignored and cost nothing."
    )


def verdict_lines(explanation: Explanation, truth: Truth) -> Iterator[str]:
    """Yield the lines of stage 8: verdicts on objects and wrong detections, and the meaning of the stages."""
    rows = (
        (each.number, text(each.name), each.verdict.stage, text(each.verdict.text)) for each in truth.objects
    )
    yield from table(("object", "class", "stage", "numbers"), rows)
    yield ""
    wrong = [
        (i, each.stage, text(each.text)) for i, each in enumerate(truth.detections) if each.stage != "found"
    ]
    if wrong:
        yield from table(("detection", "stage", "numbers"), wrong)
    else:
        yield "No detection is wrong."
    yield ""
    seen = dict.fromkeys(each.verdict.stage for each in truth.objects)
    yield from (f"- {stage}: {text(OBJECT_STAGES[stage])}" for stage in seen)
    others = dict.fromkeys(each.stage for each in truth.detections)
    yield from (f"- {stage} (detection): {text(DETECTION_STAGES[stage])}" for stage in others)


def _terms(terms: Terms) -> tuple[str, ...]:
    return tuple(f"{each:.4f}" for each in (terms.giou, terms.conf, terms.prob, terms.total))
