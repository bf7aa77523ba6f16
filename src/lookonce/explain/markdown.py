"""Write an explanation as Markdown that reads well in a terminal."""

from collections.abc import Iterator
from pathlib import PurePath

import numpy as np

from lookonce._counted import counted
from lookonce.explain.heads import cell, grid_text
from lookonce.explain.markdown_truth import assignment_lines, loss_lines, verdict_lines
from lookonce.explain.records import BELOW, KEPT, Explanation, as_tuple
from lookonce.explain.tables import box_text, position_text, prose, table, text


def to_markdown(explanation: Explanation) -> str:
    """Return all stages as Markdown, each with its description, formulas, function and numbers."""
    stages = (network_lines, head_lines, decode_lines, nms_lines)
    with_truth = (assignment_lines, loss_lines, verdict_lines)
    image = text(PurePath(explanation.input.file).name) or "An image"
    info = explanation.info
    lines = [
        f"# {image} through {text(info.architecture)}",
        "",
        f"{counted(len(info.names), 'class')}, {counted(len(explanation.detections), 'detection')} at "
        f"{text(explanation.thresholds)} and an IoU threshold of {explanation.nms.iou_threshold:g}.",
    ]
    arithmetic = (f"- {line}" for line in explanation.input.arithmetic)  # of the letterbox
    told: list[Iterator[str]] = [arithmetic, *(stage(explanation) for stage in stages)]
    if explanation.truth is not None:
        told += [stage(explanation, explanation.truth) for stage in with_truth]
    for number, (words, numbers) in enumerate(zip(explanation.words, told, strict=False), start=1):
        lines += ["", f"## {number} {words.title}", "", *prose(words.text), ""]
        lines += [f"    {line}" for line in words.formula]
        lines += ["", f"`{words.function}` in `{words.path}`", "", *numbers]
    return "\n".join(lines) + "\n"


def network_lines(explanation: Explanation) -> Iterator[str]:
    """Yield the lines of stage 2: the table of layers."""
    layers, timing = explanation.layers, explanation.timing
    parameters, trainable = sum(each.parameters for each in layers), sum(each.trainable for each in layers)
    yield (
        f"{len(layers)} layers, {parameters:,} parameters ({trainable:,} trainable), "
        f"{sum(each.multiply_adds for each in layers):,} multiply-adds, {timing.seconds * 1e3:.1f} ms."
    )
    yield from ("", *prose(f"Times: {timing.method}"), "")
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
    yield from table(headings.split(","), rows, whole=True)


def head_lines(explanation: Explanation) -> Iterator[str]:
    """Yield the lines of stage 3: the highest objectness for each anchor."""
    threshold = explanation.nms.lowest
    rows = []
    for scale in explanation.scales:
        for number, (width, height) in enumerate(scale.anchors):
            here = scale.objectness[..., number]
            row, column = np.unravel_index(int(here.argmax()), here.shape)
            cells = f"{scale.grid[0]} x {scale.grid[1]}"
            above = np.count_nonzero(here > threshold)
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
    headings = ("stride", "cells", "anchor", "highest objectness", "at row, column", f"above {threshold:g}")
    yield from table(headings, rows)


def decode_lines(explanation: Explanation) -> Iterator[str]:
    """Yield the lines of stage 4: the grid of cells, and the decoding of the best detection."""
    scale = explanation.scales[-1]
    rows, columns = scale.grid
    of, a = f"({rows}, {columns}, 2)", len(scale.anchors)
    yield (
        f"Row y and column x of each cell, stride {scale.stride}: ({rows}, {columns}) each, {of} together; "
        f"(1, {rows}, {columns}, 1, 2) broadcasts to (B, {rows}, {columns}, {a}, 2), for B images and {a} "
        "anchors."
    )
    yield from ("", *(f"    {line}" for line in grid_text(rows, columns)), "")
    kept = explanation.nms.kept
    if not len(kept):
        yield "Nothing was detected."
        return
    at = cell(
        explanation.scales, explanation.input.letterbox, as_tuple(explanation.candidates.positions[kept[0]])
    )
    where = position_text(explanation.scales, at.position)
    yield f"The best detection, {text(explanation.info.names[at.label])}: {where}."
    yield from ("", *(f"    {line}" for line in at.formulas), "")
    yield f"In the input: {box_text(at.box)}; in the image: {box_text(at.image_box)}."


def nms_lines(explanation: Explanation) -> Iterator[str]:
    """Yield the lines of stage 5: the detections, and the boxes that NMS dropped."""
    listed, result = explanation.candidates, explanation.nms
    suppressed = np.flatnonzero(result.suppressed_by > KEPT)
    above = np.count_nonzero(result.suppressed_by != BELOW)
    yield (
        f"{listed.total:,} predictions, {above} above the score threshold, {len(suppressed)} suppressed, "
        f"{len(result.kept)} kept."
    )
    if listed.left_out:
        yield (
            f"Of those above {listed.floor:g}, the lowest {listed.left_out} are not listed: the list is "
            f"complete from a score threshold of {listed.complete_from:.4f} on."
        )
    names, number = explanation.info.names, {at: i for i, at in enumerate(result.kept.tolist())}
    kept_rows = (
        (
            i,
            text(names[listed.labels[at]]),
            f"{listed.scores[at]:.4f}",
            box_text(listed.boxes[at]),
            position_text(explanation.scales, listed.positions[at]),
        )
        for i, at in enumerate(result.kept)
    )
    yield ""
    yield from table(("detection", "class", "score", "left, top, right, bottom", "where"), kept_rows)
    if len(suppressed):
        best_first = suppressed[np.argsort(-listed.scores[suppressed], kind="stable")]
        lost_rows = (
            (
                text(names[listed.labels[at]]),
                f"{listed.scores[at]:.4f}",
                box_text(listed.boxes[at]),
                number[int(result.suppressed_by[at])],
                f"{result.iou[at]:.4f}",
            )
            for at in best_first
        )
        yield ""
        headings = ("suppressed", "score", "left, top, right, bottom", "by detection", "at IoU")
        yield from table(headings, lost_rows)
