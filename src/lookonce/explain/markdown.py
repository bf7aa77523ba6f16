"""An explanation as Markdown, readable as it stands in a terminal.

Names of classes and files come from anywhere: what Markdown, HTML or a terminal would take for a command is
shown as text.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath
from textwrap import wrap

import numpy as np

from lookonce.explain.heads import cell
from lookonce.explain.records import BELOW, KEPT, Explanation, Scale
from lookonce.explain.stages import place_of
from lookonce.explain.truth_records import Terms, Truth

MOST_ROWS = 50  # of a table that grows with the image
PROSE = 100  # columns
_MARKS = re.compile(r"([\\`*_\[\]<>|~&#$!])")


def to_markdown(explanation: Explanation) -> str:
    """All stages, each with its words, formula, numbers and the function that does it."""
    stages = (_input, _network, _heads, _decode, _nms, _assignment, _losses, _verdicts)
    image = text(PurePath(explanation.input.file).name) or "An image"
    info = explanation.info
    lines = [
        f"# {image} through {text(info.architecture)}",
        "",
        f"{len(info.names)} classes, {len(explanation.detections)} detections at confidence "
        f"{explanation.suppression.confidence:g} and IoU {explanation.suppression.threshold:g}.",
    ]
    for number, (words, stage) in enumerate(zip(explanation.words, stages, strict=True), start=1):
        if words.stage in ("assignment", "losses", "verdicts") and explanation.truth is None:
            continue
        lines += ["", f"## {number} {words.title}", "", *wrap(words.text, PROSE), ""]
        lines += [f"    {line}" for line in words.formula]
        lines += ["", f"`{words.function}` in `{words.path}`", "", *stage(explanation)]
    return "\n".join(lines) + "\n"


def text(name: str) -> str:
    """Any text as one line that Markdown, HTML and terminals show as it is."""
    line = "".join(each if each.isprintable() else " " for each in name)
    return _MARKS.sub(r"\\\1", " ".join(line.split()))


def _input(found: Explanation) -> Iterator[str]:
    yield from (f"- {line}" for line in found.input.arithmetic)


def _network(found: Explanation) -> Iterator[str]:
    layers, timing = found.layers, found.timing
    parameters, trainable = sum(each.parameters for each in layers), sum(each.trainable for each in layers)
    yield (
        f"{len(layers)} layers, {parameters:,} parameters ({trainable:,} trainable), "
        f"{sum(each.multiply_adds for each in layers):,} multiply-adds, {timing.seconds * 1e3:.1f} ms."
    )
    yield from ("", *wrap(f"Times: {timing.method}", PROSE), "")
    headings = "layer,part,name,kind,what,reads,output (C x H x W),parameters,multiply-adds,ms,share"
    rows = (
        (
            each.index,
            each.part,
            " ".join(filter(None, (each.name, f"({text(each.title)})" if each.title else ""))),
            each.kind,
            each.detail,
            " ".join("image" if source < 0 else str(source) for source in each.inputs),
            " x ".join(map(str, each.shape)),
            f"{each.parameters:,}",
            f"{each.multiply_adds:,}",
            f"{each.seconds * 1e3:.2f}",
            f"{each.share:.1%}",
        )
        for each in layers
    )
    yield from _table(headings.split(","), rows, whole=True)


def _heads(found: Explanation) -> Iterator[str]:
    confidence = found.suppression.confidence
    rows = []
    for scale in found.scales:
        for number, (width, height) in enumerate(scale.anchors):
            here = scale.objectness[..., number]
            row, column = np.unravel_index(int(here.argmax()), here.shape)
            cells = f"{scale.grid[0]} x {scale.grid[1]}"
            above = np.count_nonzero(here > confidence)
            rows.append(
                (
                    scale.stride,
                    cells,
                    f"{width:g} x {height:g}",
                    f"{here.max():.4f}",
                    f"{row}, {column}",
                    above,
                )
            )
    headings = ("stride", "cells", "anchor", "highest objectness", "at row, column", f"above {confidence:g}")
    yield from _table(headings, rows)


def _decode(found: Explanation) -> Iterator[str]:
    kept = found.suppression.kept
    if not len(kept):
        yield "Nothing was detected."
        return
    at = cell(found.scales, found.input.letterbox, place_of(found.candidates.places[kept[0]]))
    yield f"The best detection, {text(found.info.names[at.label])}: {_place(found.scales, at.place)}."
    yield from ("", *(f"    {line}" for line in at.formulas), "")
    yield f"In the input: {_box(at.box)}; in the image: {_box(at.image_box)}."


def _nms(found: Explanation) -> Iterator[str]:
    listed, result = found.candidates, found.suppression
    suppressed = np.flatnonzero(result.suppressed_by > KEPT)
    above = np.count_nonzero(result.suppressed_by != BELOW)
    yield (
        f"{listed.total:,} predictions, {above} above the confidence, {len(suppressed)} suppressed, "
        f"{len(result.kept)} kept."
    )
    if listed.left_out:
        yield (
            f"Of those above {listed.floor:g}, the lowest {listed.left_out} are not listed: the list is "
            f"complete from a confidence of {listed.complete_from:.4f} on."
        )
    names, number = found.info.names, {at: i for i, at in enumerate(result.kept.tolist())}
    kept_rows = (
        (
            i,
            text(names[listed.labels[at]]),
            f"{listed.scores[at]:.4f}",
            _box(listed.boxes[at]),
            _place(found.scales, listed.places[at]),
        )
        for i, at in enumerate(result.kept)
    )
    yield ""
    yield from _table(("detection", "class", "score", "left, top, right, bottom", "where"), kept_rows)
    if len(suppressed):
        best_first = suppressed[np.argsort(-listed.scores[suppressed], kind="stable")]
        lost_rows = (
            (
                text(names[listed.labels[at]]),
                f"{listed.scores[at]:.4f}",
                _box(listed.boxes[at]),
                number[int(result.suppressed_by[at])],
                f"{result.iou[at]:.4f}",
            )
            for at in best_first
        )
        yield ""
        headings = ("suppressed", "score", "left, top, right, bottom", "by detection", "at IoU")
        yield from _table(headings, lost_rows)


def _assignment(found: Explanation) -> Iterator[str]:
    truth = _truth(found)
    if truth.differs:
        yield from (*wrap(text(truth.learnt_by), PROSE), "")
    headings = (
        "object",
        "class",
        "box in the input",
        "anchor",
        "cell",
        "IoU",
        "why",
        "target tx, ty, tw, th",
    )
    rows = []
    for each in truth.objects:
        for positive in each.positives:
            scale, row, column, anchor = positive.place
            sides = found.scales[scale].anchors[anchor]
            by = "" if positive.replaced_by is None else f", replaced by object {positive.replaced_by}"
            rows.append(
                (
                    each.number,
                    text(each.name),
                    _box(each.input_box),
                    f"stride {found.scales[scale].stride}, {sides[0]:g} x {sides[1]:g}",
                    f"{row}, {column}",
                    f"{positive.anchor_iou:.3f}",
                    positive.reason + by,
                    ", ".join("border" if t is None else f"{t:.3f}" for t in positive.target_raw),
                )
            )
    yield from _table(headings, rows)
    yield ""
    anchors = [f"{w:g} x {h:g}" for scale in found.scales for w, h in scale.anchors]
    ious = (
        (each.number, *(f"{iou:.3f}" for iou in each.anchor_ious)) for each in truth.objects if each.cells
    )
    yield from _table(("object, IoU with", *anchors), ious)
    yield ""
    ignored = sum(int(scale.ignored.sum()) for scale in truth.scales)
    positives = sum(int(scale.positive.sum()) for scale in truth.scales)
    yield (
        f"{positives} positives ({truth.lost_positives} more were replaced), {ignored} places ignored, since "
        f"they fit an object by an IoU of {truth.ignore_iou:g} or more."
    )


def _losses(found: Explanation) -> Iterator[str]:
    truth = _truth(found)
    if truth.losses is None:
        yield f"Not computed: {text(truth.why_no_losses)}."
        return
    rows = [
        (f"stride {scale.stride}", *_terms(terms))
        for scale, terms in zip(found.scales, truth.losses.scales, strict=True)
    ]
    yield from _table(
        ("scale", "giou", "conf", "prob", "together"), [*rows, ("all", *_terms(truth.losses.total))]
    )
    yield from ("", f"Of the confidence loss, {truth.losses.background:.4f} comes from the background.", "")
    objects = [
        (each.number, text(each.name), *_terms(each.losses))
        for each in truth.objects
        if each.losses is not None
    ]
    yield from _table(("object", "class", "giou", "conf", "prob", "together"), objects)


def _verdicts(found: Explanation) -> Iterator[str]:
    truth = _truth(found)
    rows = (
        (each.number, text(each.name), each.verdict.stage, text(each.verdict.text)) for each in truth.objects
    )
    yield from _table(("object", "class", "stage", "numbers"), rows)
    yield ""
    wrong = [
        (i, each.stage, text(each.text)) for i, each in enumerate(truth.detections) if each.stage != "found"
    ]
    if wrong:
        yield from _table(("detection", "stage", "numbers"), wrong)
    else:
        yield "No detection is wrong."


def _truth(found: Explanation) -> Truth:
    assert found.truth is not None
    return found.truth


def _terms(terms: Terms) -> tuple[str, ...]:
    return tuple(f"{each:.4f}" for each in (terms.giou, terms.conf, terms.prob, terms.total))


def _box(box: Iterable[float]) -> str:
    return ", ".join(f"{side:.1f}" for side in box)


def _place(scales: tuple[Scale, ...], place: Iterable[int]) -> str:
    number, row, column, anchor = place
    width, height = scales[number].anchors[anchor]
    return f"stride {scales[number].stride}, row {row}, column {column}, anchor {width:g} x {height:g}"


def _table(
    headings: Sequence[str], rows: Iterable[Sequence[object]], *, whole: bool = False
) -> Iterator[str]:
    """A table, its columns padded; of very many rows only the first unless it is wanted whole."""
    cells = [[str(value) for value in row] for row in rows]
    most = len(cells) if whole else MOST_ROWS
    shown = [list(headings), *cells[:most]]
    widths = [max(len(row[column]) for row in shown) for column in range(len(headings))]
    lines = [
        " | ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)) for row in shown
    ]
    yield f"| {lines[0]} |"
    yield f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    yield from (f"| {line} |" for line in lines[1:])
    if len(cells) > most:
        yield from ("", f"... and {len(cells) - most} more rows.")
