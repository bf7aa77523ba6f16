"""`lookonce data anchors`: compute k-means anchors for a data set, and compare them with published ones."""

from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.table import Table

from lookonce._outputs import Outputs
from lookonce._terminal import say, terminal
from lookonce.annotations import load_samples, open_annotations
from lookonce.annotations.report import say_samples
from lookonce.commands import options as shared
from lookonce.doctor.advice import AnchorFit
from lookonce.doctor.planned_network import PlannedNetwork
from lookonce.errors import AnnotationError, ConfigError
from lookonce.geometry.anchors import fit_anchors, flatten
from lookonce.networks import MODELS
from lookonce.samples import input_shapes

DECIMALS = 1  # of anchors in pixels, which are measured after rounding


def data_anchors(
    data: shared.DataArgument,
    model: Annotated[str, typer.Option(help=f"Network: {MODELS}.")] = "yolov3-tiny",
    size: Annotated[
        str | None,
        typer.Option(
            help="Network input: 416, or 320x416 (height x width).", show_default="416, or as in the .cfg"
        ),
    ] = None,
    names: shared.NamesOption = None,
    images: shared.ImagesOption = None,
    json_to: shared.JsonOption = None,
    strict: shared.StrictOption = False,
    force: shared.ForceOption = False,
) -> int:
    """Find the anchors that suit the boxes, and compare them with the published ones.

    Example: lookonce data anchors my-voc/ --model yolov3-tiny --size 320x416
    """
    wanted = shared.input_size(size)
    try:
        network = PlannedNetwork.published(model, wanted)
    except ConfigError as error:
        raise ConfigError(f"--{error}") from error
    official, target = network.anchors, network.size
    with Outputs("data anchors", files=[shared.json_file(json_to)], inputs=[data, names], force=force):
        learn = "train" if {"train", "trainval"} & set(open_annotations(data, images).splits) else None
        found = load_samples(data, learn, names, strict, images)
        code = say_samples({"": found}, terminal(stderr=True))
        shapes = input_shapes(found.samples, target)
        if not len(shapes):
            raise AnnotationError(f"{data}: expected boxes to fit anchors to, found none")
        fitted = flatten(fit_anchors(shapes, official)).round(DECIMALS)
        fits = [
            AnchorFit.measure("official", flatten(official), shapes),
            AnchorFit.measure("data", fitted, shapes),
        ]
        if json_to is not None:
            about = {"model": model, "size": target, "boxes": len(shapes)}
            measured = {
                fit.name: {
                    "anchors": fit.anchors,
                    "best_possible_recall": fit.best_possible_recall,
                    "mean_best_iou": fit.mean_best_iou,
                }
                for fit in fits
            }
            shared.write_json(json_to, about | measured, indent=None)
    if json_to != shared.STANDARD_OUTPUT:
        table = Table("anchors", "best possible\nrecall", "mean best\nIoU", "width x height", box=SIMPLE)
        for fit in fits:
            sides = "  ".join(f"{w:g}x{h:g}" for w, h in fit.anchors)
            table.add_row(fit.name, f"{fit.best_possible_recall:.3f}", f"{fit.mean_best_iou:.3f}", sides)
        terminal().print(table)
        anchors = ", ".join(f"{width:g},{height:g}" for width, height in fitted.tolist())
        say(f"for a .cfg: anchors = {anchors}", terminal())
    return code
