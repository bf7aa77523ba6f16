"""`lookonce explain`: show how a model processes an image, as a page, as JSON, or in the terminal."""

from pathlib import Path
from typing import Annotated

import typer

from lookonce._counted import counted
from lookonce._outputs import Outputs
from lookonce._terminal import say, terminal
from lookonce.commands import options as shared
from lookonce.errors import ConfigError
from lookonce.explain import Explainer
from lookonce.explain.annotation import find_truth
from lookonce.explain.markdown import to_markdown
from lookonce.explain.page import write_page
from lookonce.networks import model_path
from lookonce.runtime.options import IOU


def explain(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", parser=model_path, help="Float model: coco, .safetensors, .onnx or .cfg."
        ),
    ],
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="Image file.")],
    truth: Annotated[
        Path | None, typer.Option(metavar="DATA", help="Annotations that include the image.")
    ] = None,
    out: Annotated[Path, typer.Option(help="HTML file to write.")] = Path("report.html"),
    names: shared.NamesOption = None,
    conf: shared.ConfsOption = None,
    iou: shared.IouOption = IOU,
    size: shared.SizeOption = None,
    weights: shared.WeightsOption = None,
    json_to: shared.JsonOption = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the explanation instead of writing the page.")
    ] = False,
    force: shared.ForceOption = False,
) -> int:
    """Show every step from image to detections: shapes, formulas, numbers, losses.

    Example: lookonce explain model.safetensors photos/dog.jpg --out dog.html
    """
    console = terminal(stderr=markdown or json_to == shared.STANDARD_OUTPUT)
    if markdown and json_to == shared.STANDARD_OUTPUT:
        raise ConfigError("--json: expected a file, since --markdown prints as well; found -")
    if not markdown and out.suffix.lower() not in (".html", ".htm"):
        page = out.with_suffix(".html") if out.name else out / "report.html"
        raise ConfigError(f"--out: expected the name of a page, such as {page}, found {out}")
    if names is not None and truth is None:
        raise ConfigError("--names: expected --truth with it, to name its classes")
    options = shared.read_options(size=size, conf=conf, iou=iou, weights=weights)
    files = [None if markdown else out, shared.json_file(json_to)]
    inputs = [model, image, *(path for path in (truth, names, weights) if path)]
    with Outputs("explain", files=files, inputs=inputs, force=force):
        with shared.options_named():
            explainer = Explainer.open(model, size=options.size, conf=options.conf, iou=iou, weights=weights)
        if told := shared.describe_thresholds(explainer.info, explainer.thresholds, given=conf is not None):
            say(told, console)
        sample = None
        if truth is not None:
            sample, remarks = find_truth(truth, image, explainer.info.names, data_names=names)
            for remark in remarks:
                say(remark, console)
        found = explainer(image, sample, features=not markdown or json_to is not None)
        if json_to is not None:
            shared.write_json(json_to, found.to_dict(), indent=None)
        if markdown:
            for line in to_markdown(found).splitlines():
                say(line, terminal())
            return 0
        write_page(found, out)
    count = counted(len(found.detections), "detection")
    say(f"{found.input.file}: {found.candidates.total:,} predictions, {count}", console)
    if found.truth is not None:
        stages = [each.verdict.stage for each in found.truth.objects]
        told = ", ".join(f"{stages.count(stage)} {stage}" for stage in dict.fromkeys(stages))
        say(f"{len(stages)} annotated objects: {told or 'none'}", console)
    say(f"page: {out} ({out.stat().st_size / 1e6:.1f} MB)", console)
    return 0
