"""`lookonce slim`: remove channels from a trained model, with the same accuracy."""

import signal
from pathlib import Path
from typing import Annotated

import typer

from lookonce._interrupts import StopRequest
from lookonce._optional import require
from lookonce._outputs import Outputs
from lookonce._terminal import progress_bar, say, terminal
from lookonce.commands import options as shared
from lookonce.commands.train import EpochsOption, MinutesOption, ResumeOption, SetOption
from lookonce.errors import ConfigError
from lookonce.networks import RUN_MODEL, model_name
from lookonce.recipe import load_settings

START = "start.safetensors"  # in the run folder: the smaller network before its training
REJECTED = RUN_MODEL.replace(".", ".rejected.", 1)
FASTER, LARGEST_SPEED_UP = 2.0, 20
OF_THE_MODEL = ("model", "size", "width", "anchors", "values", "batch_norm.epsilon")  # settings it fixes


def slim(
    model: shared.ModelArgument,
    data: Annotated[
        Path,
        typer.Option(
            metavar="DATA", help="Annotations with the model's classes: train to learn, val to measure."
        ),
    ],
    faster: Annotated[
        float | None,
        typer.Option(
            metavar="N", help="Speed-up over the model, on this machine.", show_default=f"{FASTER:g}"
        ),
    ] = None,
    max_drop: Annotated[float, typer.Option(min=0, max=1, help="Largest drop of AP.")] = 0.01,
    out: Annotated[Path, typer.Option(help="Run folder.")] = Path("runs/slim"),
    epochs: EpochsOption = None,
    minutes: MinutesOption = None,
    names: shared.NamesOption = None,
    images: shared.ImagesOption = None,
    assignments: SetOption = None,
    resume: ResumeOption = False,
    strict: shared.StrictOption = False,
    json_to: shared.JsonOption = None,
) -> int:
    """Remove channels from a trained model, and train the rest with the model as its teacher.

    Example: lookonce slim runs/mine --data my-images/ --faster 2
    """
    require("torch", extra="train")  # before any image is read
    if faster is not None and not 1 < faster <= LARGEST_SPEED_UP:
        raise ConfigError(
            f"--faster: expected a number above 1, at most {LARGEST_SPEED_UP}, found {faster:g}"
        )
    for assignment in assignments or ():
        if (name := assignment.partition("=")[0].strip()) in OF_THE_MODEL:
            raise ConfigError(f"--set {name}: fixed by {model_name(model)}, expected another setting")
    from lookonce.darknet.channels import Channels
    from lookonce.train.folder import SETTINGS, check_folder
    from lookonce.train.reading import after_earlier_training, load_data
    from lookonce.train.run import Session, Stopped, train
    from lookonce.train.slim import (
        IMAGES,
        check_start,
        importance_of,
        judge,
        read_parent,
        same_classes,
        save_start,
    )
    from lookonce.train.slim import slim as smaller

    console = terminal(stderr=json_to == shared.STANDARD_OUTPUT)
    inputs = [path for path in (model, data, names) if path]
    files = [shared.json_file(json_to)]
    with (
        Outputs("slim", folder=out, files=files, inputs=inputs, force=resume or None),
        StopRequest() as asked,
    ):
        check_folder(out, resume=resume)
        parent, teacher = read_parent(model)
        lengths = {"epochs": epochs, "minutes": minutes}
        if resume:
            faster = check_start(out / START, parent, model, faster)
            settings = load_settings(out / SETTINGS, assignments or (), **lengths)
        else:
            faster = FASTER if faster is None else faster
            settings = load_settings(None, assignments or (), **lengths, size=parent.info.input_size)
            settings = settings.model_copy(
                update={
                    "values": parent.info.values,
                    "batch_norm": settings.batch_norm.model_copy(update={"epsilon": parent.info.bn_epsilon}),
                }
            )
        found = load_data(data, settings, names, console, images, strict=strict)
        found = after_earlier_training(same_classes(found, parent.info, model), model, console)
        if not resume:
            with progress_bar(console, transient=True) as progress:
                bar = progress.add_task("importance of channels", total=min(IMAGES, len(found.train)))

                def advance(count: int) -> None:
                    progress.advance(bar, count)
                    if asked():
                        raise KeyboardInterrupt  # nothing to save yet

                channels = Channels(parent.network)
                importance = importance_of(channels, parent, found, settings, advance)
            made = smaller(channels, parent, importance.tolist(), faster)
            say(f"{model_name(model)} {made.describe()} (--faster {faster:g})", console)
            save_start(out / START, made.model, parent, faster)
            settings = settings.model_copy(update={"model": str(out / START)})
        elif (out / REJECTED).exists():
            (out / REJECTED).rename(out / RUN_MODEL)
        session = Session(console, stop=asked, strict=strict)
        try:
            result = train(found, settings, out, session, weights=out / START, resume=resume, teacher=teacher)
        except Stopped:
            words = "slim", model, "--data", data, "--out", out, "--max-drop", f"{max_drop:g}"
            again = shared.resume_command(*words, names=names, images=images, strict=strict)
            say(f"stopped and saved; to resume: {again}", console)
            return 128 + (asked.signal or signal.SIGTERM)
        with progress_bar(console) as progress:
            verdict = judge(parent, result.model, progress.track(found.val, description="comparing AP"))
        accepted, path = verdict.compared.drop <= max_drop, result.model  # NaN is rejected
        if not accepted:
            path = path.rename(out / REJECTED)
        if json_to is not None:
            shared.write_json(json_to, {"model": str(path), "accepted": accepted, **verdict.to_dict()})
        for line in verdict.describe():
            say(line, console)
        lost = f"rejected: AP drops by {verdict.compared.drop:.3f}, expected at most {max_drop:g}"
        say(
            f"slim model: {path}"
            if accepted
            else f"{lost}: {path}; more --epochs or a smaller --faster may help",
            console,
        )
    return 0 if accepted else 1
