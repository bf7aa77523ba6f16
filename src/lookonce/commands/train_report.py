"""The end of `lookonce train`: write the report on the best model, and print the next commands."""

import shlex
from pathlib import Path

from rich.console import Console

from lookonce._terminal import say
from lookonce.annotations import GivenData
from lookonce.errors import LookonceError

REPORT = "report"  # folder in the run folder


def report_run(
    model: Path,
    data: GivenData,
    out: Path,
    console: Console,
    *,
    again: bool,
    device: str,
) -> None:
    """Evaluate the best model on the validation images, and print the next two commands.

    A run is complete even without its report, so an error is only printed.

    Args:
        model: file of the best model of the run.
        data: annotations that the model was trained on.
        out: run folder.
        console: console for messages.
        again: whether to replace an earlier report on this run.
        device: device to detect on.
    """
    from lookonce.commands.evaluate import evaluate

    try:
        evaluate(
            model,
            data.path,
            out=out / REPORT,
            names=data.names,
            images=data.images,
            device=device,
            explain=0,
            force=again,
        )
    except LookonceError as error:
        say(f"no report: {error}", console)
    file = shlex.quote(str(model))
    say("next, on your own images:", console)
    say(f"  lookonce detect {file} new-images/ --out found", console)
    say("and for a machine without PyTorch:", console)
    say(f"  lookonce export {file} --to onnx", console)
