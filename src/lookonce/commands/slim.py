"""`lookonce slim`: remove channels from a trained model, and keep its accuracy."""

import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from lookonce._files import check_file
from lookonce._interrupts import StopRequest
from lookonce._optional import require
from lookonce._outputs import Outputs
from lookonce._terminal import progress_bar, say, terminal
from lookonce.annotations import GivenData
from lookonce.commands import options as shared
from lookonce.commands.train_options import (
    EpochsOption,
    MinutesOption,
    ResumeOption,
    SetOption,
    check_length,
    options_of_settings,
)
from lookonce.config import TrainSettings
from lookonce.errors import ConfigError, ModelFileError
from lookonce.networks import BUILT_IN, RUN_MODEL, model_name, model_path
from lookonce.recipe import load_settings
from lookonce.samples import Sample

if TYPE_CHECKING:
    from lookonce.train.setup import TrainData
    from lookonce.train.slim import Parent, Slimmed

START = "start.safetensors"  # file in the run folder with the smaller network before training
REJECTED = RUN_MODEL.replace(".", ".rejected.", 1)
FASTER, LARGEST_SPEED_UP = 2.0, 20
OF_THE_MODEL = ("model", "size", "width", "anchors", "values", "batch_norm.epsilon")  # fixed by the model


def slim(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", parser=model_path, help="Model: run folder, .safetensors, .cfg, or coco."
        ),
    ],
    data: Annotated[
        Path,
        typer.Option(metavar="DATA", help="Annotations with the model's classes; AP is measured on val."),
    ],
    faster: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Speed to reach on this machine, relative to MODEL.",
            show_default=f"{FASTER:g}",
        ),
    ] = None,
    max_drop: Annotated[float, typer.Option(min=0, max=1, help="Largest accepted drop in AP.")] = 0.01,
    out: Annotated[Path, typer.Option(help="Run folder.")] = Path("runs/slim"),
    epochs: EpochsOption = None,
    minutes: MinutesOption = None,
    names: shared.NamesOption = None,
    images: shared.ImagesOption = None,
    assignments: SetOption = None,
    resume: ResumeOption = False,
    strict: shared.StrictOption = False,
    json_to: shared.JsonOption = None,
    force: shared.ForceOption = False,
) -> int:
    """Make a trained model faster: remove channels, then train on DATA and on the model's output.

    Example: lookonce slim runs/mine --data my-images/ --faster 2
    """
    require("torch", extra="train")  # fail before any image is read
    if faster is not None and not 1 < faster <= LARGEST_SPEED_UP:
        raise ConfigError(
            f"--faster: expected a number above 1, at most {LARGEST_SPEED_UP}, found {faster:g}"
        )
    check_length(epochs, minutes)
    check_file(model, ModelFileError, BUILT_IN)
    for assignment in assignments or ():
        if (name := assignment.partition("=")[0].strip()) in OF_THE_MODEL:
            raise ConfigError(f"--set {name}: fixed by {model_name(model)}, expected another setting")
    from lookonce.train.checkpoint import LAST
    from lookonce.train.folder import SETTINGS, check_folder
    from lookonce.train.imitate import Teacher
    from lookonce.train.reading import after_earlier_training, load_data
    from lookonce.train.run import Session, Stopped, train
    from lookonce.train.setup import as_trained
    from lookonce.train.slim import check_start, read_parent, same_classes, save_start

    console = terminal(stderr=json_to == shared.STANDARD_OUTPUT)
    given = GivenData(data, names, images, strict)
    inputs = [path for path in (model, data, names) if path]
    files = [shared.json_file(json_to)]
    with (
        Outputs("slim", folder=out, files=files, inputs=inputs, force=force, resume=resume),
        StopRequest() as asked,
        shared.options_named({"data", "faster"}),
    ):
        check_folder(out, resume=resume)
        parent, network = read_parent(model)
        lengths = {"epochs": epochs, "minutes": minutes}
        changes = assignments or ()
        with options_of_settings(changes, lengths):
            if resume:
                faster = check_start(out / START, parent, model, faster)
                settings = load_settings(out / SETTINGS, changes, **lengths)
            else:
                faster = FASTER if faster is None else faster
                settings = load_settings(None, changes, **lengths, size=parent.info.input_size)
                settings = as_trained(settings, parent.info)
        resumed = out / LAST if resume else None
        found = load_data(given, settings, console, resumed=resumed)
        found = after_earlier_training(same_classes(found, parent.info, model), resumed or model, console)
        if not resume:
            made = _without_channels(parent, found, settings, faster, console, asked)
            say(f"{model_name(model)} {made.describe()} (--faster {faster:g})", console)
            if made.times.speed_up < faster:
                say(f"--faster {faster:g} was not reached: this is the fastest network tried", console)
            save_start(out / START, made.model, parent, faster)
            settings = settings.model_copy(update={"model": str(out / START)})
        session = Session(console, stop=asked, strict=strict)
        try:
            result = train(
                found, settings, out, session, weights=out / START, resume=resume, teacher=Teacher(network)
            )
        except Stopped:
            words = ["slim", model_name(model), "--data", data, "--out", out]
            words += ["--max-drop", f"{max_drop:g}", "--resume"]
            again = shared.command_line(*words, data=given)
            say(f"stopped and saved; to resume: {again}", console)
            return 128 + (asked.signal or signal.SIGTERM)
        # a run resumed after its end may have been rejected
        path = result.model if result.model.exists() else out / REJECTED
        return _compare(parent, path, found.val, out, max_drop, json_to, console)


def _without_channels(
    parent: "Parent",
    found: "TrainData",
    settings: TrainSettings,
    faster: float,
    console: Console,
    stopping: Callable[[], bool],
) -> "Slimmed":
    """Remove the least important channels of a model until it is `faster` times as fast."""
    from lookonce.darknet.channels import Channels
    from lookonce.train.slim import IMAGES, importance_of, slim

    with progress_bar(console, transient=True) as progress:
        bar = progress.add_task("importance of channels", total=min(IMAGES, len(found.train)))

        def advance(count: int) -> None:
            progress.advance(bar, count)
            if stopping():
                raise KeyboardInterrupt  # nothing to save yet

        channels = Channels(parent.network)
        importance = importance_of(channels, parent, found, settings, advance)
    return slim(channels, parent, importance.tolist(), faster)


def _compare(
    parent: "Parent",
    made: Path,
    samples: Sequence[Sample],
    out: Path,
    max_drop: float,
    json_to: Path | None,
    console: Console,
) -> int:
    """Compare AP with that of the parent model, and name the model file by the verdict.

    Returns:
        Exit code: 0 if the model is accepted, else 1.
    """
    from lookonce.train.slim import judge

    with progress_bar(console) as progress:
        verdict = judge(parent, made, progress.track(samples, description="comparing AP"))
    drop = verdict.compared.drop
    accepted = drop <= max_drop  # NaN is rejected
    path = made.replace(out / (RUN_MODEL if accepted else REJECTED))
    if accepted:
        (out / REJECTED).unlink(missing_ok=True)  # of the run before it was resumed
    if json_to is not None:
        shared.write_json(json_to, {"model": str(path), "accepted": accepted, **verdict.to_dict()})
    for line in verdict.describe():
        say(line, console)
    if not verdict.compared.before.ap:
        say("the model finds nothing in these images, so they cannot show a loss of AP", console)
    if accepted:
        say(f"slim model: {path}", console)
        return 0
    lost = f"rejected: AP drops by {drop:.3f}, expected at most {max_drop:g}"
    say(f"{lost}: {path}; more --epochs or a smaller --faster may help", console)
    return 1
