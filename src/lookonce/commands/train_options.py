"""Define the options of `lookonce train`, and convert them to settings."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from lookonce._counted import counted
from lookonce.config import TrainSettings
from lookonce.errors import ConfigError
from lookonce.networks import BUILT_IN_FOLDER, MODELS, START, is_network, model_name, model_path
from lookonce.recipe import FROM_DETECTOR, load_settings, read_recipe, recipe_file

OutOption = Annotated[Path, typer.Option(help="Run folder.")]
ModelOption = Annotated[
    str | None, typer.Option(help=f"Network: {MODELS}.", show_default=f"that of --weights, else {START}")
]
TrainSizeOption = Annotated[
    str | None,
    typer.Option(
        help="Network input: 416, or 320x416 (height x width).",
        show_default="320; with --model 416, or as in the .cfg",
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
FastEnoughOption = Annotated[
    str | None,
    typer.Option(
        "--for",
        metavar="TIME",
        help="Time limit per image on this machine, such as 5ms; trains the most accurate network within it.",
    ),
]
BatchOption = Annotated[str | None, typer.Option(help='Batch size, or "auto".', show_default="4")]
StartOption = Annotated[
    Path | None,
    typer.Option(
        parser=model_path,
        help="Weights to start from: coco, a .safetensors, a .cfg with its .weights, or darknet53.conv.74.",
        show_default=f"{START}; with --model, random weights",
    ),
]
KeepClassesOption = Annotated[
    bool,
    typer.Option("--keep-classes", help="Keep the classes of --weights and add those of DATA."),
]
RecipeOption = Annotated[
    Path | None,
    typer.Option(help="YAML file of settings, or name of a recipe.", show_default="default"),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Any setting, such as optimizer.rate=0.0005; see docs/train.md."
    ),
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Resume the run in --out.")]
ExtendOption = Annotated[
    int | None, typer.Option(min=1, help="Epochs to add to a finished run.", metavar="N")
]
FoldsOption = Annotated[
    int | None,
    typer.Option(
        min=2, metavar="N", help="Number of cross-validation runs, each with different images held out."
    ),
]
TrainDeviceOption = Annotated[
    str,
    typer.Option(metavar="DEVICE", help="auto (CUDA, else the CPU), cpu, cuda, cuda:1, or mps (Apple)."),
]
SelfTestOption = Annotated[
    bool, typer.Option("--self-test", help="Only overfit 8 images, to test data and settings.")
]


def check_length(epochs: int | None, minutes: float | None) -> None:
    """Check that `--minutes` is above 0, and given without `--epochs`.

    Raises:
        ConfigError: it is not.
    """
    if minutes is not None and (not minutes > 0 or epochs):
        raise ConfigError(
            f"--minutes: expected a number above 0 instead of --epochs, found {minutes:g}"
            + (f" beside --epochs {epochs}" if epochs else "")
        )


@contextmanager
def options_of_settings(assignments: Sequence[str], named: Mapping[str, Any]) -> Iterator[None]:
    """Replace a setting in an error message with the option that set it: `--epochs`, or `--set NAME`.

    Raises:
        ConfigError: the same error, with the option.
    """
    try:
        yield
    except ConfigError as error:
        setting = str(error).partition(":")[0]
        if named.get(setting) is not None:
            is_start = (setting, named[setting]) == ("model", START)
            hint = f"; to start from it: --weights {START}" if is_start else ""
            raise ConfigError(f"--{error}{hint}") from error
        places = {text for each in assignments for text in (each, repr(each), each.partition("=")[0].strip())}
        if any(str(error).startswith(f"{place}:") for place in places):
            raise ConfigError(f"--set {error}") from error
        raise


def check_combination(
    weights: Path | None,
    extend: int | None,
    folds: int | None,
    *,
    resume: bool,
    keep_classes: bool,
    self_test: bool,
) -> None:
    """Check options of `lookonce train` that choose the kind of run.

    Raises:
        ConfigError: two of them exclude each other, or one needs another.
    """
    if self_test and (weights or resume or extend or folds or keep_classes):
        raise ConfigError(
            "--self-test: expected none of --weights, --resume, --extend, --folds and --keep-classes with "
            "it, since it starts from random weights and writes nothing"
        )
    if weights and (resume or extend) and not folds:
        option = "--resume" if resume else "--extend"
        raise ConfigError(
            f"--weights: expected none with {option}, which continues from the run's own weights, found "
            f"{model_name(weights)}"
        )
    if folds and (extend or keep_classes):
        raise ConfigError("--folds: expected neither --extend nor --keep-classes with it")
    if keep_classes and not (weights or resume):
        raise ConfigError("--keep-classes: expected the model with the classes to keep, as --weights MODEL")


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `lookonce train` that are settings.

    Attributes:
        recipe: file or name of a recipe; None for the default recipe.
        assignments: values of `--set`, such as `a.b=c`.
        named: values of other options by the name of their setting; None for an option that was not given.
    """

    recipe: Path | None
    assignments: Sequence[str]
    named: Mapping[str, Any]

    def settings(self, recipe: Path | None = None) -> TrainSettings:
        """Return the settings; `recipe` replaces the default recipe.

        Raises:
            ConfigError: a setting cannot be used; the message names its option if there is one.
        """
        with options_of_settings(self.assignments, self.named):
            return load_settings(self.recipe or recipe, self.assignments, **self.named)

    def with_network(self, weights: Path | None) -> "Options":
        """Return options with the network of the weights and the size of its file, unless given otherwise.

        Unless there is a recipe, training from a detector's weights uses the settings `FROM_DETECTOR`.

        Raises:
            ConfigError: the weights are built in, and another network is given.
            ModelFileError: the file of a network cannot be used.
        """
        from lookonce.darknet.described import holds_detector, published_size, settings_of

        named = dict(self.named)
        assignments = list(self.assignments)
        pairs = (each.partition("=") for each in self.assignments)
        assigned = {name.strip(): value for name, _, value in pairs}
        of_recipe = read_recipe(recipe_file(self.recipe)) if self.recipe else {}
        given = {name for name, value in named.items() if value is not None} | {*assigned, *of_recipe}
        if weights and weights.parent == BUILT_IN_FOLDER:
            if named.get("model") or "model" in assigned:
                raise ConfigError(f"--weights {model_name(weights)}: fixes the network; expected no --model")
            named["model"] = str(weights)
        elif weights and "model" not in given and holds_detector(weights):
            named |= {name: value for name, value in settings_of(weights).items() if name not in given}
        if weights and not self.recipe and holds_detector(weights):
            assignments = [*FROM_DETECTOR, *assignments]
        network = str(named.get("model") or assigned.get("model") or of_recipe.get("model"))
        # an unknown name is reported when the settings are checked
        if is_network(network) and named.get("size") is None and "size" not in assigned | of_recipe:
            own = published_size(network)
            named["size"] = own and f"{own[0]}x{own[1]}"
        return replace(self, named=named, assignments=assignments)

    def checked(self, out: Path, weights: Path | None, more_epochs: int, *, resume: bool) -> TrainSettings:
        """Return the settings of a run, after checking them and the run folder.

        Raises:
            ConfigError: the folder cannot be used (see `check_folder`), a setting cannot be used, or the
                number of epochs differs from that of the run to resume.
        """
        from lookonce.train.folder import SETTINGS, check_folder

        check_folder(out, resume=resume)
        own = out / SETTINGS if resume and (out / SETTINGS).exists() else None
        settings = self.settings(own)
        if own and settings.epochs != (planned := load_settings(own).epochs):
            raise ConfigError(
                f"{own}: the run has {counted(planned, 'epoch')}, found {settings.epochs} asked for: "
                "leave --epochs out; --extend N gives a finished run N more"
            )
        if more_epochs and settings.minutes:
            raise ConfigError(
                f"--extend: the length of the run is {settings.minutes:g} min: expected --resume with more "
                "--minutes"
            )
        return settings.model_copy(update={"epochs": settings.epochs + more_epochs})
