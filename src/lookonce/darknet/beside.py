"""The two files of a Darknet model; given one of them, find the other beside it."""

import re
from pathlib import Path

from lookonce.errors import ModelFileError

SUFFIXES = (".cfg", ".weights")
_TRAINED = re.compile(r"_(best|last|final|\d+)$")  # as Darknet's trainer names weights


def find_weights(cfg: Path) -> Path:
    """Return the weights beside a `.cfg`: NAME.weights, or the only file with a name of Darknet's trainer.

    A `.weights` file is returned unchanged.

    Raises:
        ModelFileError: there are none, or several.
    """
    if cfg.suffix.lower() == ".weights":
        return cfg
    own = cfg.with_suffix(".weights")
    if own.is_file():
        return own
    beside = sorted(file for file in cfg.parent.iterdir() if file.suffix.lower() == ".weights")
    trained = [file for file in beside if _TRAINED.sub("", file.stem) == cfg.stem]
    if len(trained) == 1:
        return trained[0]
    found = ", ".join(file.name for file in trained or beside) or "none"
    expected = "one file of weights" if trained else f"its weights as {own.name} beside it"
    remedy = "; choose with --weights FILE" if beside else ""
    raise ModelFileError(f"{cfg}: expected {expected}, found {found}{remedy}")


def find_cfg(weights: Path) -> Path:
    """Return the `.cfg` beside weights: of the same name, or of the name without `_best` or a similar ending.

    Any other file, such as a `.cfg`, is returned unchanged.

    Raises:
        ModelFileError: there is no such file.
    """
    if weights.suffix.lower() != ".weights":
        return weights
    for stem in (weights.stem, _TRAINED.sub("", weights.stem)):
        if (cfg := weights.with_name(f"{stem}.cfg")).is_file():
            return cfg
    found = ", ".join(sorted(file.name for file in weights.parent.glob("*.cfg"))) or "none"
    raise ModelFileError(f"{weights}: expected the .cfg that describes its network beside it, found {found}")


def has_cfg(weights: Path) -> bool:
    """Return whether the `.cfg` of a weight file is beside it."""
    try:
        find_cfg(weights)
    except ModelFileError:
        return False
    return True
