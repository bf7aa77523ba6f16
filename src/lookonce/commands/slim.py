"""`lookonce slim`: fewer channels, the same accuracy, from a trained model."""

import signal
from pathlib import Path
from typing import Annotated, Any

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
LARGEST_SPEED_UP = 20


def slim(
    model: shared.ModelArgument,
    data: Annotated[
        Path,
        typer.Option(
            metavar="DATA", help="Annotations with the model's classes: train to learn, val to measure."
        ),
    ],
    faster: Annotated[
        float, typer.Option(metavar="N", help="Times as fast as the model, on this machine.")
    ] = 2.0,
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
    if not 1 < faster <= LARGEST_SPEED_UP:
        raise ConfigError(
            f"--faster: expected a number above 1, at most {LARGEST_SPEED_UP}, found {faster:g}"
        )
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
            check_start(out / START, parent, model)
            settings = load_settings(out / SETTINGS, assignments or (), **lengths)
        else:
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
            channels = Channels(parent.network)
            with progress_bar(console, transient=True) as progress:
                bar = progress.add_task("importance of channels", total=min(IMAGES, len(found.train)))

                def advance(count: int) -> None:
                    progress.advance(bar, count)
                    if asked():
                        raise KeyboardInterrupt  # nothing to save yet

                importance = importance_of(channels, parent, found, settings, advance)
            made = smaller(channels, parent, importance.tolist(), faster)
            say(
                f"{model_name(model)} with {made.share:.0%} of its multiplications: "
                f"{made.times.before:.1f} -> {made.times.after:.1f} ms per image here, "
                f"{made.times.speed_up:.2f} times as fast (--faster {faster:g})",
                console,
            )
            save_start(out / START, made.model)
            settings = settings.model_copy(update={"model": str(out / START)})
        elif (out / REJECTED).exists():
            (out / REJECTED).rename(out / RUN_MODEL)
        session = Session(console, stop=asked, strict=strict)
        try:
            result = train(found, settings, out, session, weights=out / START, resume=resume, teacher=teacher)
        except Stopped:
            again = f"lookonce slim {model_name(model)} --data {data} --out {out} --resume"
            say(f"stopped and saved; to resume: {again}", console)
            return 128 + (asked.signal or signal.SIGTERM)
        with progress_bar(console) as progress:
            verdict = judge(parent, result.model, progress.track(found.val, description="comparing AP"))
        before, after = verdict.compared.before, verdict.compared.after
        accepted, path = verdict.compared.drop <= max_drop, result.model  # NaN is rejected
        if not accepted:
            path = path.rename(out / REJECTED)
        times, (many, few) = verdict.times, verdict.parameters
        for line in (
            f"{after.images} validation images: AP {before.ap:.3f} -> {after.ap:.3f}, "
            f"AP50 {before.ap50:.3f} -> {after.ap50:.3f}",
            f"{times.before:.1f} -> {times.after:.1f} ms per image, {times.speed_up:.2f} times as fast; "
            f"{many:,} -> {few:,} parameters",
            f"slim model: {path}"
            if accepted
            else f"rejected: AP drops by {verdict.compared.drop:.3f}, expected at most {max_drop:g}: {path}; "
            "more --epochs or a smaller --faster may help",
        ):
            say(line, console)
        if json_to is not None:
            report: dict[str, Any] = {
                "model": str(path),
                "accepted": accepted,
                "ap": [before.ap, after.ap],
                "ap50": [before.ap50, after.ap50],
                "images": after.images,
                "milliseconds": [times.before, times.after],
                "speed_up": times.speed_up,
                "multiplications": verdict.share,
                "parameters": verdict.parameters,
            }
            shared.write_json(json_to, report)
    return 0 if accepted else 1
