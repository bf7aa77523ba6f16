"""The two files of a Darknet model: given one of them, find the other in the same folder."""

import re
from pathlib import Path

from lookonce.errors import ModelFileError

SUFFIXES = (".cfg", ".weights")
_TRAINED = re.compile(r"_(best|last|final|\d+)$")  # endings that Darknet adds to weights during training


def find_weights(cfg: Path) -> Path:
    """Return the weights beside NAME.cfg: NAME.weights, or else the only NAME_best.weights or similar.

    A `.weights` file is returned unchanged.

    Raises:
        ModelFileError: there are no weights, or several.
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
    if beside:
        found = ", ".join(file.name for file in trained or beside)
        raise ModelFileError(
            f"weights: expected the file for {cfg}, since it has no {own.name}; found {found}"
        )
    raise ModelFileError(f"{cfg}: expected its weights as {own.name} beside it, found none")


def find_cfg(weights: Path) -> Path:
    """Return the `.cfg` beside weights, with the same name or with that name without `_best` or similar.

    A file that is not `.weights`, such as a `.cfg`, is returned unchanged.

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
