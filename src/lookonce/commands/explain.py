"""`lookonce explain`: one image's way through one model, as a page, as JSON, or in the terminal."""

import json
from pathlib import Path

from rich.console import Console

from lookonce._files import write_text
from lookonce.commands.opening import input_size
from lookonce.commands.report import say
from lookonce.explain import Explainer, Explanation
from lookonce.explain.annotation import find_truth
from lookonce.explain.markdown import to_markdown
from lookonce.explain.page import write_page
from lookonce.runtime.options import CONF, IOU


def explain(
    model: Path,
    image: Path,
    out: Path,
    *,
    truth: Path | None = None,
    names: Path | None = None,
    confidence: float = CONF,
    iou: float = IOU,
    size: str | None = None,
    json_file: Path | None = None,
    markdown: bool = False,
) -> int:
    """Explain an image and write what was asked for.

    Args:
        model: a float model: `.safetensors`, `.cfg` beside its weights, or `.onnx` of one of our networks.
        image: the image.
        out: the page.
        truth: annotations that hold the image, in any form; classes are matched by name.
        names: file of class names, where the annotations have numbers alone.
        confidence: a detection's score lies above it.
        iou: of suppression.
        size: of the network's input, `416` or `320x416`; None: as the model was made.
        json_file: a place for the records.
        markdown: print the explanation instead of writing the page.

    Returns:
        0.

    Raises:
        LookonceError: model, image, annotations or settings are wrong.
    """
    console = Console(stderr=markdown)
    explainer = Explainer.open(model, size=input_size(size), conf=confidence, iou=iou)
    sample = None
    if truth is not None:
        sample, remarks = find_truth(truth, image, explainer.info.names, data_names=names)
        for remark in remarks:
            say(remark, console)
    found = explainer(image, sample, features=not markdown or json_file is not None)
    if json_file is not None:
        write_text(json_file, json.dumps(found.to_dict()) + "\n")
    if markdown:
        print(to_markdown(found), end="")
        return 0
    write_page(found, out)
    _say(found, out, console)
    return 0


def _say(found: Explanation, out: Path, console: Console) -> None:
    detections = found.detections
    count = f"{len(detections)} {'detection' if len(detections) == 1 else 'detections'}"
    say(f"{found.input.file}: {found.candidates.total:,} predictions, {count}", console)
    if found.truth is not None:
        stages = [each.verdict.stage for each in found.truth.objects]
        told = ", ".join(f"{stages.count(stage)} {stage}" for stage in dict.fromkeys(stages))
        say(f"{len(stages)} annotated objects: {told or 'none'}", console)
    say(f"page: {out} ({out.stat().st_size / 1e6:.1f} MB)", console)
