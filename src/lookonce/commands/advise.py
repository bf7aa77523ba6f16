"""`lookonce advise`: time networks on this machine, and choose one by its time per image."""

import re
import shlex
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from lookonce._counted import counted
from lookonce._optional import require
from lookonce._outputs import Outputs
from lookonce._terminal import progress_bar, say, terminal
from lookonce.annotations import GivenData
from lookonce.annotations.report import say_samples
from lookonce.commands import options as shared
from lookonce.errors import ConfigError
from lookonce.geometry.sizes import size_text

if TYPE_CHECKING:
    from lookonce.bench.networks import NetworkChoice

EPOCHS = 30  # length of a run with the default recipe
ELSEWHERE = (
    "after two minutes of training on two cores: the lower on heads (420 images), the higher on blood cells "
    "(233)"
)


@dataclass(frozen=True, slots=True)
class Advised:
    """The times of a network on this machine, and its AP on other images.

    Attributes:
        options: options of `lookonce train` that choose the network.
        milliseconds: time per image in the network alone, in ONNX Runtime on all cores.
        images_per_second: speed of training.
        minutes: length of a run of `EPOCHS` epochs, without evaluation.
        ap_elsewhere: AP on two other data sets, the lower one first.
    """

    options: str
    milliseconds: float
    images_per_second: float
    minutes: float
    ap_elsewhere: tuple[float, float]


def advise(
    data: shared.DataArgument,
    size: Annotated[
        str | None,
        typer.Option(help="Network input: 416, or 320x416 (height x width).", show_default="from the boxes"),
    ] = None,
    names: shared.NamesOption = None,
    images: shared.ImagesOption = None,
    json_to: shared.JsonOption = None,
    force: shared.ForceOption = False,
) -> int:
    """Compare networks for these images: speed and training time, and AP on two other data sets.

    Example: lookonce advise my-images/
    """
    require("torch", extra="train")
    from lookonce.bench.networks import CHOICES, by_accuracy, sizes_for, time_networks, training_speed
    from lookonce.doctor.advice import ENOUGH
    from lookonce.train.reading import check_classes
    from lookonce.train.setup import TrainData

    console, wanted = terminal(stderr=True), shared.input_size(size)
    with Outputs("advise", files=[shared.json_file(json_to)], inputs=[data, names], force=force):
        given = GivenData(data, names, images)
        found = given.open().load("train", given.class_names())
        code = say_samples({"train": found}, console)
        check_classes(found.names, data)
        fit = sizes_for(found.samples, wanted)[0]
        small, chosen = fit.below_16 > ENOUGH, wanted or (fit.side, fit.side)
        times = time_networks(by_accuracy(CHOICES, small=small), found.names, chosen, console)
        rows = []
        with progress_bar(console, transient=True) as progress:
            for choice, milliseconds in progress.track(times.items(), description="training each network"):
                speed = training_speed(choice, TrainData(found.names, found.samples, ()), chosen)
                minutes = EPOCHS * len(found.samples) / speed / 60
                reached = choice.ap_small, choice.ap
                rows.append(Advised(shlex.join(choice.options), milliseconds, speed, minutes, reached))
        if json_to is not None:
            shared.write_json(json_to, {"size": chosen, "networks": [asdict(row) for row in rows]})
    if json_to == shared.STANDARD_OUTPUT:
        return code
    table = Table("network", box=None, header_style="bold")
    for heading in ("ms", "images/s", f"{EPOCHS} epochs", "AP"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.options,
            f"{row.milliseconds:.1f}",
            f"{row.images_per_second:.1f}",
            f"{row.minutes:.1f} min",
            "{:.2f} to {:.2f}".format(*row.ap_elsewhere),
        )
    results = terminal()
    results.print(table)
    sides = chosen[0] if chosen[0] == chosen[1] else size_text(chosen)
    words = ["train", data, *next(iter(times)).options, "--size", sides]
    for line in (
        f"for {counted(len(found.samples), 'image')} at {shared.height_width(chosen)}, on this machine:",
        "ms: one image in the network alone; images/s and 30 epochs: training without evaluation",
        f"AP: {ELSEWHERE}; on your images it will differ",
        f"in order of AP on {'heads' if small else 'blood cells'}: "
        f"{fit.below_16:.0%} of the objects have a side below 16 pixels at this size",
        f"to train the first: {shared.command_line(*words, data=given)}",
    ):
        say(line, results)
    return code


def choose_network(
    limit: str, data: GivenData, size: tuple[int, int] | None, console: Console
) -> tuple["NetworkChoice", tuple[int, int]]:
    """Choose the network for `--for`, and the (height, width) of its input.

    Without a size, the size that suits the boxes is tried first, then smaller ones.

    Args:
        limit: longest accepted time per image, such as `5ms` or `5`.
        data: annotated images.
        size: (height, width) given by the user; None to choose it.
        console: console for the progress bar and the choice.

    Raises:
        ConfigError: the limit is not a time, or no network is fast enough.
        AnnotationError: the images cannot be used for training.
    """
    from lookonce.bench.networks import CHOICES, most_accurate, sizes_for, time_networks
    from lookonce.doctor.advice import ENOUGH
    from lookonce.train.reading import check_classes

    matched = re.fullmatch(r"(\d+\.?\d*|\.\d+) *(ms)?", limit.strip().lower())
    most = float(matched[1]) if matched else 0.0
    if not most:
        raise ConfigError(f"--for: expected milliseconds per image above 0, such as 5ms, found {limit!r}")
    found = data.open().load("train", data.class_names())
    check_classes(found.names, data.path)
    for fit in sizes_for(found.samples, size):
        sides = size or (fit.side, fit.side)
        times = time_networks(CHOICES, found.names, sides, console)
        choice = most_accurate(times, most, small=fit.below_16 > ENOUGH)
        if choice is not None:
            say(
                f"--for {most:g}ms: {shlex.join(choice.options)} at {shared.height_width(sides)}, "
                f"{times[choice]:.1f} ms per image in the network",
                console,
            )
            return choice, sides
    raise ConfigError(
        f"--for: expected {min(times.values()):.1f}ms or more, the time of the fastest network at "
        f"{shared.height_width(sides)} on this machine, found {limit}"
    )
