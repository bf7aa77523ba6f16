"""Check and prepare the folder of a new or resumed run."""

from collections.abc import Collection
from pathlib import Path

import yaml

from lookonce._files import check_utf8, write_text
from lookonce._outputs import remove_leftovers
from lookonce.config import TrainSettings, flat
from lookonce.darknet.described import cfg_of
from lookonce.errors import ConfigError
from lookonce.model.files import load_info
from lookonce.networks import NETWORKS, RUN_SETTINGS
from lookonce.recipe import load_settings
from lookonce.train import checkpoint

SETTINGS, NETWORK = RUN_SETTINGS, "network.cfg"


def check_folder(out: Path, *, resume: bool) -> None:
    """Check that the folder holds a run to resume, or no run if a new one starts.

    Raises:
        ConfigError: `out` is not a folder, has no run to resume, or holds a run although a new one starts.
    """
    check_utf8(out, ConfigError)
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: expected a folder for the run, found a file")
    if not resume and any((out / name).exists() for name in (checkpoint.LAST, checkpoint.BEST)):
        raise ConfigError(f"{out}: expected a new folder, found a run: resume it, or choose another folder")
    if resume and not (out / checkpoint.LAST).exists():
        raise ConfigError(f"{out}: nothing to resume: expected {checkpoint.LAST}")


def prepare_folder(out: Path, settings: TrainSettings, *, resume: bool) -> None:
    """Prepare the folder of a new run, or check the settings of a run to resume.

    A resumed run keeps its settings, except those that determine its end: `minutes`, `patience` and, once it
    is finished, a larger number of `epochs`. The learning rate then continues as in a run of that length.

    Raises:
        ConfigError: as `check_folder`, or `out` holds a run with other settings.
    """
    check_folder(out, resume=resume)
    for name in (checkpoint.LAST, checkpoint.BEST):
        remove_leftovers(out / name)
    if not resume:
        return
    before = load_settings(out / SETTINGS)  # settings missing from an older file have their defaults
    may_change = {"epochs", "patience", *(["minutes"] if settings.minutes and before.minutes else [])}
    if differing := changes(before, settings, may_change):
        raise ConfigError(
            f"{out / SETTINGS}: a resumed run keeps its settings, found {'; '.join(differing)}; leave the "
            "options out, or start a new run"
        )
    done = checkpoint.Progress.of(load_info(out / checkpoint.LAST), out / checkpoint.LAST).epochs
    if settings.epochs != before.epochs and (done < before.epochs or settings.epochs < done):
        raise ConfigError(
            f"{out}: expected a finished run, and more epochs than it has; found {done} of {before.epochs} "
            f"epochs done, {settings.epochs} wanted: first resume it to its end"
        )


def changes(before: TrainSettings, settings: TrainSettings, may_change: Collection[str]) -> list[str]:
    """Describe the settings of a run that have changed, besides those that may change."""
    files = [each.model for each in (before, settings) if each.model not in NETWORKS]
    if len(files) == 2 and cfg_of(files[0]).text == cfg_of(files[1]).text:
        settings = settings.model_copy(update={"model": before.model})
    new, old = flat(settings), flat(before)
    return sorted(
        f"{name}: {new[name]} instead of {old[name]}"
        for name in new.keys() - may_change
        if new[name] != old[name]
    )


def write_settings(out: Path, settings: TrainSettings) -> None:
    """Write the settings of a run and a copy of the `.cfg` that they name, which keeps the folder movable."""
    if settings.model not in NETWORKS:
        write_text(out / NETWORK, cfg_of(settings.model).text)
        settings = settings.model_copy(update={"model": NETWORK})
    write_text(out / SETTINGS, yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False))
