"""`lookonce train`: train a model on annotated images."""

import os
import signal
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from lookonce._counted import counted
from lookonce._files import check_file
from lookonce._interrupts import StopRequest
from lookonce._optional import require
from lookonce._outputs import Outputs
from lookonce._terminal import say, terminal
from lookonce.annotations import GivenData
from lookonce.commands import options as shared
from lookonce.commands import train_options as given
from lookonce.commands.advise import choose_network
from lookonce.commands.results import Trained
from lookonce.commands.train_report import report_run
from lookonce.config import TrainSettings
from lookonce.errors import ConfigError, ModelFileError
from lookonce.geometry.sizes import size_text
from lookonce.networks import BUILT_IN, START, model_name, model_path
from lookonce.runtime.devices import AUTO

OF_NETWORK = {"model", "width"}  # settings that choose the network


def train(
    data: shared.DataArgument,
    out: given.OutOption = Path("runs/train"),
    model: given.ModelOption = None,
    size: given.TrainSizeOption = None,
    epochs: given.EpochsOption = None,
    minutes: given.MinutesOption = None,
    patience: given.PatienceOption = None,
    batch: given.BatchOption = None,
    weights: given.StartOption = None,
    within: given.FastEnoughOption = None,
    keep_classes: given.KeepClassesOption = False,
    names: shared.NamesOption = None,
    images: shared.ImagesOption = None,
    recipe: given.RecipeOption = None,
    assignments: given.SetOption = None,
    resume: given.ResumeOption = False,
    extend: given.ExtendOption = None,
    group_by: shared.TrainGroupOption = "",
    folds: given.FoldsOption = None,
    device: given.TrainDeviceOption = AUTO,
    strict: shared.StrictOption = False,
    self_test: given.SelfTestOption = False,
) -> Trained:
    """Train a detector on annotated images.

    Example: lookonce train my-images/ --size 320 --epochs 60 --out runs/mine
    """
    started = time.monotonic()
    if device == "mps":  # read when torch is imported: what Metal does not support runs on the CPU
        os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    require("torch", extra="train")  # fail before any image is read
    from lookonce.model.backend import torch_device
    from lookonce.train.folder import check_folder

    with shared.options_named():
        torch_device(device)
    given.check_length(epochs, minutes)
    annotated = GivenData(data, names, images, strict)
    assigned = {each.partition("=")[0].strip() for each in assignments or ()}
    is_continued = bool((resume or extend) and not folds)  # each fold not begun yet starts as the first did
    is_chosen = bool(model or weights or recipe or is_continued or self_test or assigned & OF_NETWORK)
    if within is not None:
        if is_chosen or resume or keep_classes or "size" in assigned:
            raise ConfigError(
                "--for: expected none of --model, --weights, --recipe, --resume, --extend, --self-test, "
                "--keep-classes and --set of model, width or size with it, since it chooses the network and "
                "its size"
            )
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ConfigError(
                "--for: expected a single process; run it without torchrun, and use the network it chooses"
            )
        from lookonce.train.folds import fold_folders

        for folder in (out, *fold_folders(out, folds or 0)):
            check_folder(folder, resume=False)  # before networks are timed for minutes
        choice, sides = choose_network(within, annotated, shared.input_size(size), terminal())
        size = size_text(sides)
        if choice.model in BUILT_IN:
            weights = model_path(choice.model)
        else:
            model = choice.model
            assignments = [f"width={choice.width:g}", *(assignments or ())]
    elif not (is_chosen or keep_classes):
        weights = model_path(START)
    options = given.Options(
        recipe,
        assignments or (),
        {
            "model": model,
            "size": size,
            "epochs": epochs,
            "minutes": minutes,
            "patience": patience,
            "batch": batch,
            "group": group_by or None,
        },
    )
    if weights:
        check_file(weights, ModelFileError, BUILT_IN)
    given.check_combination(
        weights, extend, folds, resume=resume, keep_classes=keep_classes, self_test=self_test
    )
    inputs = [path for path in (data, weights, names, recipe) if path]
    words = ["train", data, "--out", out]
    if folds:  # a fold not begun yet starts as the others did
        words += ["--folds", folds, *(["--weights", model_name(weights)] if weights else [])]
        for name, value in {"recipe": recipe, **options.named}.items():
            words += [f"--{name}", value] if value is not None else []
        for assignment in assignments or ():
            words += ["--set", assignment]
    words += ["--resume"] if device == AUTO else ["--device", device, "--resume"]
    again = shared.command_line(*words, data=annotated)
    resume = resume or extend is not None
    task = _Task(annotated, out, weights, device, inputs, again, resume=resume)
    if not is_continued:
        options = options.with_network(None if self_test else weights)
    if self_test:
        return Trained(out, exit_code=_self_test(task, options.settings()))
    if folds:
        return Trained(out, exit_code=_cross_validate(task, options.settings(), folds))
    return _train(task, options, extend or 0, started, keep_classes=keep_classes)


@dataclass(frozen=True, slots=True)
class _Task:
    """The arguments of a training run, a self-test or a cross-validation.

    Attributes:
        data: annotated images.
        out: run folder.
        weights: model to start from; None for random weights.
        device: value of `--device`.
        inputs: files and folders that no output may replace.
        again: command that resumes the run.
        resume: whether to resume the run in `out`.
    """

    data: GivenData
    out: Path
    weights: Path | None
    device: str
    inputs: Sequence[Path]
    again: str
    resume: bool


def _train(
    task: _Task, options: given.Options, more_epochs: int, started: float, *, keep_classes: bool
) -> Trained:
    """Train one model, and write a report on the validation images."""
    from lookonce.train.checkpoint import LAST
    from lookonce.train.parallel import join
    from lookonce.train.reading import after_earlier_training, load_data
    from lookonce.train.run import Session, Stopped
    from lookonce.train.run import train as run
    from lookonce.train.teach import OLD, TAUGHT, Lessons, read_old_model, teach

    out, weights, resume = task.out, task.weights, task.resume
    outputs = Outputs("train", folder=out, inputs=task.inputs, resume=resume)
    with join(task.device) as group, outputs if group.is_first else nullcontext(), StopRequest() as asked:
        console = terminal()
        console.quiet = not group.is_first
        settings = group.on_first(lambda: options.checked(out, weights, more_epochs, resume=resume))
        resumed = out / LAST if resume else None
        prepared = group.on_first(lambda: load_data(task.data, settings, console, resumed=resumed))
        prepared = after_earlier_training(prepared, resumed or weights, console)
        if keep_classes and not resume:
            assert weights is not None
            settings = group.on_first(lambda: teach(prepared, settings, weights, out, console, task.device))
        elif not resume and group.is_first:  # left by a failed run with --keep-classes
            for name in (TAUGHT, OLD):
                (out / name).unlink(missing_ok=True)
        teacher = None
        if keep_classes or (resume and (out / TAUGHT).exists()):
            lessons = Lessons.read(out)
            prepared, teacher = lessons.add_to(prepared), read_old_model(out, lessons)
        session = Session(console, group, stop=asked, strict=task.data.strict, started=started)
        try:
            with given.options_of_settings(options.assignments, options.named):
                result = run(
                    prepared, settings, out, session, weights=weights, resume=resume, teacher=teacher
                )
        except Stopped:
            say(f"stopped and saved; to resume: {task.again}", console)
            return Trained(out, exit_code=128 + (asked.signal or signal.SIGTERM))
    progress = result.progress
    chosen = (
        f"AP {progress.best_ap:.3f}, epoch {progress.best_epoch}" if progress.best_ap >= 0 else "last epoch"
    )
    say(f"best model: {result.model} ({chosen})", console)
    if group.is_first and prepared.val:
        where = str(session.group.device)
        report_run(result.model, task.data, out, console, again=resume, device=where)
    ap = progress.best_ap if progress.best_ap >= 0 else float("nan")
    return Trained(out, result.model, ap, progress.best_epoch, progress.epochs)


def _self_test(task: _Task, settings: TrainSettings) -> int:
    """Overfit eight images, and print the verdict.

    Returns:
        Exit code: 0 if the model overfits, or if time ran out without a sign of a fault; else 1.
    """
    from lookonce.train.parallel import Group
    from lookonce.train.reading import load_data
    from lookonce.train.self_test import FEWEST_STEPS, GOAL
    from lookonce.train.self_test import self_test as run

    console = terminal()
    found = load_data(task.data, settings, console, record=False)
    outcome = run(found, settings, console, Group(task.device))
    reached = (
        f"AP50 {outcome.ap50:.3f} on the same images after {outcome.steps} steps, {outcome.seconds:.0f} s"
    )
    if outcome.passed:
        say(f"self-test passed: {reached}", console)
        return 0
    trend = f"the loss went from {outcome.losses[0]:.3g} to {outcome.losses[1]:.3g}"
    if not outcome.failed:
        verdict = "falling as it should" if outcome.steps >= FEWEST_STEPS else "too few steps to tell"
        say(f"self-test out of time, no fault found: {reached}; {trend}, {verdict}", console)
        say("use a smaller --size or --set width=0.5 to save time", console)
        return 0
    say(f"self-test failed: {reached}, expected {GOAL}; {trend}", console)
    if outcome.lost:
        say(
            f"{outcome.lost} assignments were replaced by another object on the same cell and anchor: "
            "a larger --size or yolov3 instead of yolov3-tiny keeps neighbors apart",
            console,
        )
    say("check the boxes and classes: any network can overfit eight images with sound boxes", console)
    return 1


def _cross_validate(task: _Task, settings: TrainSettings, folds: int) -> int:
    """Train a model for each fold, and print how AP varies.

    Returns:
        Exit code: 0 on success, or 128 plus the number of the signal that stopped the run.
    """
    from lookonce.train.folds import REPORT, train_folds
    from lookonce.train.parallel import Group
    from lookonce.train.reading import load_folds
    from lookonce.train.run import Session, Stopped

    console, out, weights, resume = terminal(), task.out, task.weights, task.resume
    parts = load_folds(task.data, settings, folds, console)
    with (
        Outputs("train", folder=out, inputs=task.inputs, resume=resume),
        StopRequest() as asked,
    ):
        session = Session(console, Group(task.device), stop=asked, strict=task.data.strict)
        try:
            result = train_folds(parts, settings, out, session, weights=weights, resume=resume)
        except Stopped:
            say(f"stopped and saved; to resume: {task.again}", console)
            return 128 + (asked.signal or signal.SIGTERM)
    metrics, spread = result.evaluation.metrics, result.evaluation.intervals.overall
    say(result.describe(), console)
    by = "the model that has not learned from it"
    if result.known:
        by = f"the model of its fold; all started from one that had learned from {result.known} of them"
    say(
        f"{counted(metrics.images, 'image')}, each evaluated with {by}: AP {spread.ap.around(metrics.ap)}, "
        f"AP50 {spread.ap50.around(metrics.ap50)}; {out / REPORT}",
        console,
    )
    return 0
