"""`lookonce models`: list the trained models that can be used by name."""

from dataclasses import asdict, dataclass

from rich.table import Table

from lookonce._outputs import Outputs
from lookonce._terminal import say, terminal
from lookonce.commands import options as shared
from lookonce.darknet.fetch import REGISTRY
from lookonce.geometry.sizes import size_text
from lookonce.networks import BUILT_IN


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model in the list; unknown numbers are None.

    Attributes:
        name: name to use in commands.
        built_in: whether the model is in the package; others are downloaded by `lookonce fetch`.
        input_size: (height, width) of the input.
        classes: number of classes.
        bytes: size of the weights in bytes.
        coco_ap50: published AP at IoU 0.50 on COCO.
        milliseconds: time per image on one core.
    """

    name: str
    built_in: bool
    input_size: tuple[int, int] | None
    classes: int | None
    bytes: int
    coco_ap50: float | None
    milliseconds: float | None = None


def models(json_to: shared.JsonOption = None, force: shared.ForceOption = False) -> int:
    """List the trained models: the built-in one, and those that you can fetch.

    Example: lookonce models
    """
    listed = [
        ListedModel(name, True, model.input_size, model.classes, model.size, model.ap50, model.milliseconds)
        for name, model in BUILT_IN.items()
    ]
    for name, published in REGISTRY.items():
        size, classes = (
            (None, None) if (info := published.info) is None else (info.input_size, len(info.names))
        )
        listed.append(ListedModel(name, False, size, classes, published.weights.size, published.ap50))
    if json_to is not None:
        with Outputs("models", files=[shared.json_file(json_to)], force=force):
            shared.write_json(json_to, [asdict(model) for model in listed])
    if json_to == shared.STANDARD_OUTPUT:
        return 0
    table = Table("name", "input", box=None, header_style="bold")
    for heading in ("classes", "MB", "AP50", "ms"):
        table.add_column(heading, justify="right")
    table.add_column("from")
    for model in listed:
        table.add_row(
            model.name,
            "-" if model.input_size is None else size_text(model.input_size),
            "-" if model.classes is None else str(model.classes),
            f"{model.bytes / 1e6:.1f}",
            "-" if model.coco_ap50 is None else f"{model.coco_ap50:.3f}",
            "-" if model.milliseconds is None else f"{model.milliseconds:.1f}",
            "built in" if model.built_in else "lookonce fetch",
        )
    console = terminal()
    console.print(table)
    say("AP50: on COCO, as published; ms: per image on one core, if measured", console)
    return 0
