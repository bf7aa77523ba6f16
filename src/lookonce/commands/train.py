"""`lookonce train`: from annotated images to a model file."""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookonce._counted import counted
from lookonce._files import did_you_mean
from lookonce._interrupts import StopRequest
from lookonce._optional import require
from lookonce._outputs import Outputs
from lookonce._terminal import say, terminal
from lookonce.commands import options as shared
from lookonce.commands.results import Trained
from lookonce.commands.train_report import report_run
from lookonce.config import TrainSettings
from lookonce.errors import ConfigError, ModelFileError
from lookonce.networks import BUILT_IN_FOLDER, MODELS, is_network, model_name, model_path
from lookonce.recipe import load_settings, read_recipe, recipe_file
from lookonce.runtime.devices import AUTO

if TYPE_CHECKING:
    from lookonce.train.plan import TrainData


OutOption = Annotated[Path, typer.Option(help="Run folder.")]
ModelOption = Annotated[
    str | None, typer.Option(help=f"{MODELS}; else that of --weights.", show_default="yolov3-tiny")
]
TrainSizeOption = Annotated[
    str | None,
    typer.Option(
        help="Network input: 416, or 320x416 (height x width); else that of the .cfg.", show_default="416"
    ),
]
EpochsOption = Annotated[int | None, typer.Option(help="Passes over the training images.", show_default="30")]
MinutesOption = Annotated[
    float | None, typer.Option(metavar="N", help="Length of the run in minutes, instead of --epochs.")
]
PatienceOption = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="End after N epochs without a better AP.", show_default="never"),
]
BatchOption = Annotated[str | None, typer.Option(help='Batch size, or "auto".', show_default="4")]
StartOption = Annotated[
    Path | None,
    typer.Option(
        parser=model_path,
        help="Weights to start from: coco, .safetensors, .cfg beside .weights, darknet53.conv.74.",
        show_default="random",
    ),
]
KeepClassesOption = Annotated[
    bool,
    typer.Option(
        "--keep-classes", help="Add classes to the model of --weights, which labels its own on DATA."
    ),
]
RecipeOption = Annotated[
    Path | None,
    typer.Option(help="YAML file of settings, or the name of a recipe.", show_default="default"),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Any setting, such as optimizer.rate=0.0005; see docs/train.md."
    ),
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Resume the run in --out.")]
ExtendOption = Annotated[
    int | None, typer.Option(min=1, help="Train a finished run for N more epochs.", metavar="N")
]
FoldsOption = Annotated[
    int | None, typer.Option(min=2, metavar="N", help="Cross-validate: N runs, each image held out once.")
]
TrainDeviceOption = Annotated[
    str,
    typer.Option(
        metavar="DEVICE", help="auto (CUDA, else the CPU), cpu, cuda, or mps (Apple); cuda:1 of several."
    ),
]
SelfTestOption = Annotated[
    bool, typer.Option("--self-test", help="Overfit 8 images only, to test data and settings.")
]


def train(
    data: shared.DataArgument,
    out: OutOption = Path("runs/train"),
    model: ModelOption = None,
    size: TrainSizeOption = None,
    epochs: EpochsOption = None,
    minutes: MinutesOption = None,
    patience: PatienceOption = None,
    batch: BatchOption = None,
    weights: StartOption = None,
    keep_classes: KeepClassesOption = False,
    names: shared.NamesOption = None,
    images: shared.ImagesOption = None,
    recipe: RecipeOption = None,
    assignments: SetOption = None,
    resume: ResumeOption = False,
    extend: ExtendOption = None,
    group_by: shared.TrainGroupOption = "",
    folds: FoldsOption = None,
    device: TrainDeviceOption = AUTO,
    strict: shared.StrictOption = False,
    self_test: SelfTestOption = False,
) -> Trained:
    """Train a detector on annotated images.

    Example: lookonce train my-images/ --size 320 --epochs 60 --out runs/mine
    """
    started = time.monotonic()
    if device == "mps":  # read when torch is imported: what Metal lacks is computed on the CPU
        os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    require("torch", extra="train")  # before any image is read
    from lookonce.model.backend import torch_device

    with shared.options_named():
        torch_device(device)
    if minutes is not None and (minutes <= 0 or epochs):
        raise ConfigError(
            f"--minutes: expected a number above 0 in place of --epochs, found {minutes:g}"
            + (f" beside --epochs {epochs}" if epochs else "")
        )
    options = Options(
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
    if weights and not weights.exists():
        raise ModelFileError(f"{weights}: no such file{did_you_mean(weights)}")
    if self_test and (weights or resume or extend or folds or keep_classes):
        raise ConfigError(
            "--self-test: starts from random weights and writes nothing; expected none of "
            "--weights, --resume, --extend, --folds and --keep-classes with it"
        )
    inputs = [path for path in (data, weights, names, recipe) if path]
    words = ["train", data, "--out", out, *(["--folds", folds] if folds else [])]
    words += [] if device == AUTO else ["--device", device]
    again = shared.resume_command(*words, names=names, images=images, strict=strict)
    if folds and (extend or keep_classes):
        raise ConfigError("--folds: expected neither --extend nor --keep-classes with it")
    if self_test:
        settings = options.with_network(None).settings()
        verdict = _self_test(data, settings, names, images, device, strict=strict)
        return Trained(out, exit_code=verdict)
    if folds:
        settings = (options if resume else options.with_network(weights)).settings()
        from lookonce.train.reading import after_earlier_training, load_folds

        found = load_folds(data, settings, folds, names, terminal(), images, strict=strict)
        found = [after_earlier_training(each, weights, terminal()) for each in found]
        code = _cross_validate(
            found, settings, out, inputs, weights, device, again, resume=resume, strict=strict
        )
        return Trained(out, exit_code=code)
    from lookonce.train.checkpoint import LAST
    from lookonce.train.parallel import join
    from lookonce.train.reading import after_earlier_training, load_data
    from lookonce.train.run import Session, Stopped
    from lookonce.train.run import train as run
    from lookonce.train.teach import TAUGHT, Lessons, teach

    if keep_classes and not (weights or resume):
        raise ConfigError("--keep-classes: expected the model that has the classes, with --weights MODEL")
    resume = resume or extend is not None
    if not resume:
        options = options.with_network(weights)
    # a run to resume may come from another machine, for which the list of written files is not valid
    outputs = Outputs("train", folder=out, inputs=inputs, force=resume or None)
    with join(device) as group, outputs if group.is_first else nullcontext(), StopRequest() as asked:
        console = terminal()
        console.quiet = not group.is_first
        settings = group.on_first(lambda: options.checked(out, weights, extend or 0, resume=resume))
        prepared = group.on_first(lambda: load_data(data, settings, names, console, images, strict=strict))
        prepared = after_earlier_training(prepared, out / LAST if resume else weights, console)
        if keep_classes and not resume:
            assert weights is not None
            settings = group.on_first(lambda: teach(prepared, settings, weights, out, console, device))
        if keep_classes or (resume and (out / TAUGHT).exists()):
            prepared = Lessons.read(out).add_to(prepared)
        if not (weights or resume or model):
            say(
                "no --weights: from random weights; --weights coco has the higher AP in short trainings",
                console,
            )
        session = Session(console, group, stop=asked, strict=strict, started=started)
        try:
            result = run(prepared, settings, out, session, weights=weights, resume=resume)
        except Stopped:
            say(f"stopped and saved; to resume: {again}", console)
            return Trained(out, exit_code=128 + (asked.signal or signal.SIGTERM))
    progress = result.progress
    chosen = (
        f"AP {progress.best_ap:.3f}, epoch {progress.best_epoch}" if progress.best_ap >= 0 else "last epoch"
    )
    say(f"best model: {result.model} ({chosen})", console)
    if group.is_first and prepared.val:
        where = str(session.group.device)
        report_run(result.model, data, out, names, images, console, again=resume, device=where)
    ap = progress.best_ap if progress.best_ap >= 0 else float("nan")
    return Trained(out, result.model, ap, progress.best_epoch, progress.epochs)


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the command that are settings.

    Attributes:
        recipe: file or name.
        assignments: `a.b=c`.
        named: top-level settings by name; None if not given.
    """

    recipe: Path | None
    assignments: Sequence[str]
    named: Mapping[str, Any]

    def settings(self, recipe: Path | None = None) -> TrainSettings:
        """Assemble the settings, from another recipe if none was given.

        Raises:
            ConfigError: a wrong setting; it is named by its option if it has one.
        """
        try:
            return load_settings(self.recipe or recipe, self.assignments, **self.named)
        except ConfigError as error:
            if self.named.get(str(error).partition(":")[0]) is None:
                raise
            raise ConfigError(f"--{error}") from error

    def with_network(self, weights: Path | None) -> "Options":
        """Return options in which weights choose the network if nothing else does, and a `.cfg` its own size.

        Raises:
            ConfigError: another network than that of built-in weights.
            ModelFileError: the file of a network cannot be used.
        """
        from lookonce.darknet.described import has_own_network, published_size

        named, model = dict(self.named), self.named.get("model")
        pairs = (each.partition("=") for each in self.assignments)
        assigned = {name.strip(): value for name, _, value in pairs}
        of_recipe = read_recipe(recipe_file(self.recipe)) if self.recipe else {}
        if weights and weights.parent == BUILT_IN_FOLDER:
            if model or "model" in assigned:
                raise ConfigError(f"--weights {model_name(weights)}: fixes the network, expected no --model")
            named["model"] = str(weights)
        elif weights and not model and "model" not in assigned | of_recipe and has_own_network(weights):
            named["model"] = str(weights)
        network = str(named.get("model") or assigned.get("model") or of_recipe.get("model"))
        # a wrong name is found with the other settings
        if is_network(network) and named.get("size") is None and "size" not in assigned | of_recipe:
            own = published_size(network)
            named["size"] = own and f"{own[0]}x{own[1]}"
        return replace(self, named=named)

    def checked(self, out: Path, weights: Path | None, more_epochs: int, *, resume: bool) -> TrainSettings:
        """Assemble the settings of a run; check its folder and its weights before any data is read.

        Raises:
            ConfigError: as `check_folder`; or another number of epochs than those of the resumed run.
        """
        from lookonce.train.folder import SETTINGS, check_folder

        check_folder(out, resume=resume)
        own = out / SETTINGS if resume and (out / SETTINGS).exists() else None
        settings = self.settings(own)
        if own and settings.epochs != (planned := load_settings(own).epochs):
            raise ConfigError(
                f"{own}: the run has {planned} epochs, found {settings.epochs} asked for: "
                "leave --epochs out; --extend N gives a finished run N more"
            )
        if more_epochs and settings.minutes:
            raise ConfigError(
                f"--extend: the run is planned for {settings.minutes:g} minutes: expected --resume with more "
                "--minutes"
            )
        return settings.model_copy(update={"epochs": settings.epochs + more_epochs})


def _self_test(
    data: Path,
    settings: TrainSettings,
    names: Path | None,
    images: Path | None,
    device: str,
    *,
    strict: bool,
) -> int:
    """Overfit on eight images, and print the verdict.

    Returns:
        0 if the model overfits, or time ran out while nothing pointed to a fault; else 1.
    """
    from lookonce.train.parallel import Group
    from lookonce.train.reading import load_data
    from lookonce.train.self_test import FEWEST_STEPS, GOAL
    from lookonce.train.self_test import self_test as run

    console = terminal()
    found = load_data(data, settings, names, console, images, strict=strict, record=False)
    outcome = run(found, settings, console, Group(device))
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
        say("a smaller --size or --set width=0.5 takes less time", console)
        return 0
    say(f"self-test failed: {reached}, expected {GOAL}; {trend}", console)
    if outcome.lost:
        say(
            f"{outcome.lost} assignments were taken over by another object on the same cell and anchor: "
            "a larger --size or yolov3 instead of yolov3-tiny keeps neighbours apart",
            console,
        )
    say("check the boxes and classes: a network can overfit eight sound images", console)
    return 1


def _cross_validate(
    parts: "Sequence[TrainData]",
    settings: TrainSettings,
    out: Path,
    inputs: Sequence[Path],
    weights: Path | None,
    device: str,
    again: str,
    *,
    resume: bool,
    strict: bool,
) -> int:
    """Train on each fold, and print how AP varies; `again` is the command that resumes."""
    from lookonce.train.folds import REPORT, train_folds
    from lookonce.train.parallel import Group
    from lookonce.train.run import Session, Stopped

    console = terminal()
    with (
        Outputs("train", folder=out, inputs=inputs, force=resume or None),
        StopRequest() as asked,
    ):
        session = Session(console, Group(device), stop=asked, strict=strict)
        try:
            result = train_folds(parts, settings, out, session, weights=weights, resume=resume)
        except Stopped:
            say(f"stopped and saved; to resume: {again}, with the same settings", console)
            return 128 + (asked.signal or signal.SIGTERM)
    metrics, spread = result.evaluation.metrics, result.evaluation.intervals.overall
    say(result.describe(), console)
    say(
        f"{counted(metrics.images, 'image')}, each by the model that has not learned from it: "
        f"AP {spread.ap.around(metrics.ap)}, AP50 {spread.ap50.around(metrics.ap50)}; {out / REPORT}",
        console,
    )
    return 0
