"""`lookonce export`: a trained model in the form that another program reads."""

from pathlib import Path

from rich.console import Console

from lookonce._optional import require
from lookonce.commands.report import say
from lookonce.errors import LookonceError


def export_darknet(model: Path, out: Path) -> int:
    """Write `<model>.cfg`, `.weights` and `.names` into the folder `out`, read them back and compare.

    Returns:
        0: what was written computes what the model does.

    Raises:
        LookonceError: not a lookonce model, a class name that fits no line, a folder that cannot be written,
            or a comparison that failed.
        MissingExtraError: torch is not installed.
    """
    require("torch", "train")
    from lookonce.model.darknet_io import largest_difference, save_darknet
    from lookonce.model.files import load_model

    network, info = load_model(model)
    cfg = out / f"{model.stem}.cfg"
    try:
        save_darknet(cfg, network, info)
    except OSError as error:
        raise LookonceError(f"{out}: the model cannot be written: {error.strerror or error}") from error
    difference = largest_difference(cfg, network)
    console = Console()
    say(f"{info.architecture}, {len(info.names)} classes, written as {cfg}, .weights and .names", console)
    say(
        f"read back and run on noise: the raw maps differ by at most {difference:.1e} of the largest", console
    )
    return 0
