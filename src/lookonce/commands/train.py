"""`lookonce train`: from annotated images to a model file."""

import hashlib
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from lookonce.annotations import open_annotations
from lookonce.annotations.files import read_names
from lookonce.commands.interrupts import StopRequest
from lookonce.commands.report import say, say_samples
from lookonce.config import TrainSettings, load_settings
from lookonce.errors import AnnotationError, ConfigError, ModelFileError
from lookonce.samples import Sample

if TYPE_CHECKING:
    from lookonce.train.plan import TrainData


def train(
    data: Path,
    out: Path,
    *,
    names: Path | None = None,
    recipe: Path | None = None,
    assignments: Sequence[str] = (),
    weights: Path | None = None,
    resume: bool = False,
    extend: int | None = None,
    strict: bool = False,
    **options: Any,
) -> int:
    """Train until the last epoch.

    Args:
        data: annotations, in any form.
        out: run folder.
        names: file of class names, where the annotations have numbers alone.
        recipe: YAML of settings.
        assignments: settings as `a.b=c`.
        weights: a lookonce model to start from.
        resume: go on with the run in `out`; without a recipe, its own settings hold.
        extend: epochs that a run which is done gets on top.
        strict: stop at the first bad row or image.
        options: settings given as options of their own; None means: not given.

    Returns:
        0 done; 128 and the signal's number where one stopped the run, which is 130 for Ctrl-C; a process that
        stopped for another one's signal returns 143.
    """
    from lookonce.train.parallel import join
    from lookonce.train.run import SETTINGS, Session, Stopped, check_folder
    from lookonce.train.run import train as run

    def chosen() -> TrainSettings:
        check_folder(out, resume=resume)  # these two before any data is read
        if weights and not weights.exists():
            raise ModelFileError(f"{weights}: no such file")
        own = out / SETTINGS if resume and (out / SETTINGS).exists() else None
        settings = load_settings(recipe or own, assignments, **options)
        if own and settings.epochs != (planned := load_settings(own).epochs):
            raise ConfigError(
                f"{own}: the run has {planned} epochs, found {settings.epochs} asked for: "
                "leave --epochs out; --extend N gives a run that is done N more"
            )
        return settings.model_copy(update={"epochs": settings.epochs + (extend or 0)})

    resume = resume or extend is not None
    with join() as group:
        console = Console(quiet=not group.is_first)
        settings = group.on_first(chosen)
        prepared = load_data(data, settings, names, console, strict=strict)
        with StopRequest() as asked:
            try:
                session = Session(console, group, stop=asked, strict=strict)
                result = run(prepared, settings, out, session, weights=weights, resume=resume)
            except Stopped:
                goes_on = f"lookonce train {data} --out {out} --resume goes on from here"
                say(f"stopped, and saved: {goes_on}", console)
                return 128 + (asked.signal or signal.SIGTERM)
    progress = result.progress
    judged = (
        f"AP {progress.best_ap:.3f}, epoch {progress.best_epoch}" if progress.best_ap >= 0 else "last epoch"
    )
    console.print(f"best model: {result.model} ({judged})", highlight=False, soft_wrap=True)
    return 0


def self_test(
    data: Path,
    *,
    names: Path | None = None,
    recipe: Path | None = None,
    assignments: Sequence[str] = (),
    strict: bool = False,
    **options: Any,
) -> int:
    """Memorise eight images, and say what that means; arguments as for `train`.

    Returns:
        0 memorised, 1 not, or not in time.
    """
    from lookonce.train.self_test import GOAL, MOST_STEPS
    from lookonce.train.self_test import self_test as run

    console = Console()
    settings = load_settings(recipe, assignments, **options)
    outcome = run(load_data(data, settings, names, console, strict=strict), settings, console)
    reached = (
        f"AP50 {outcome.ap50:.3f} on the same images after {outcome.steps} steps, {outcome.seconds:.0f} s"
    )
    if outcome.passed:
        console.print(f"self-test passed: {reached}", highlight=False)
        return 0
    if outcome.cut_off:
        say(
            f"self-test ran out of time: {reached}, expected {GOAL} within {MOST_STEPS} steps: "
            "this machine is too slow to tell; a smaller --size takes less",
            console,
        )
        return 1
    say(f"self-test failed: {reached}, expected {GOAL}", console)
    if outcome.lost:
        say(
            f"{outcome.lost} assignments were taken over by another object on the same cell and anchor: "
            "a larger --size or yolov3 instead of yolov3-tiny keeps neighbours apart",
            console,
        )
    say("look at the boxes and classes: a network can learn eight sound images by heart", console)
    return 1


def load_data(
    data: Path, settings: TrainSettings, names: Path | None, console: Console, *, strict: bool
) -> "TrainData":
    """Training and validation images; without a validation part, some of the training ones are held out.

    A test part is never touched here.

    Raises:
        AnnotationError: not recognised, nothing in it, or validation classes that differ.
    """
    from lookonce.train.plan import TrainData

    annotations = open_annotations(data)
    given = read_names(names) if names else None
    learn = annotations.load("train", given, strict)
    say_samples({"train": learn}, console)
    if not any(len(sample.boxes) for sample in learn.samples):
        why = f"; the first problem: {learn.problems[0]}" if learn.problems else ""
        raise AnnotationError(f"{data}: expected boxes to learn from, found none{why}")
    if "val" not in annotations.splits:
        kept, held_out = hold_out(learn.samples, settings.holdout, settings.seed)
        use = " for validation" if held_out else ", so the last model counts as the best"
        say(f"no val part: {len(held_out)} of {len(learn.samples)} images held out{use}", console)
        return TrainData(learn.names, kept, held_out)
    judge = annotations.load("val", given, strict)
    say_samples({"val": judge}, console)
    if judge.names != learn.names:
        raise AnnotationError(
            f"{data}: expected the same classes in train and val, found {learn.names} and {judge.names}"
        )
    return TrainData(learn.names, learn.samples, judge.samples)


def hold_out(samples: Sequence[Sample], share: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Split images at random into (to learn from, to judge by); at least one stays to learn from.

    The file name decides with the seed, so that an image more or less leaves the others where they are, and
    a run that goes on is not judged by what it learnt from.
    """

    def lot(number: int) -> bytes:
        return hashlib.sha256(f"{seed}/{samples[number].path.name}".encode(errors="surrogateescape")).digest()

    order = sorted(range(len(samples)), key=lot)
    taken = set(order[: min(round(share * len(samples)), len(samples) - 1)])
    return (
        [sample for i, sample in enumerate(samples) if i not in taken],
        [sample for i, sample in enumerate(samples) if i in taken],
    )
