"""The command line: parses, then imports the one command it runs.

Exit codes: 0 done, 1 ran but found problems, 2 wrong input.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from lookonce.errors import LookonceError

app = typer.Typer(
    help="YOLOv3: train on your own pictures, detect on an ordinary CPU, read and write Darknet models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and leave.")) -> None:
    if version:
        from importlib.metadata import version as installed_version

        typer.echo(f"lookonce {installed_version('lookonce')}")
        raise typer.Exit


@app.command()
def train(
    data: Annotated[Path, typer.Argument(help="Annotations: a dataset YAML, folder, .json or .txt.")],
    out: Annotated[Path, typer.Option(help="Run folder.")] = Path("runs/train"),
    model: Annotated[str | None, typer.Option(help="yolov3, yolov3-spp or yolov3-tiny (default).")] = None,
    size: Annotated[str | None, typer.Option(help="416, or 320x416 (height x width).")] = None,
    epochs: Annotated[int | None, typer.Option(help="Times every picture is learnt from; 30.")] = None,
    batch: Annotated[int | None, typer.Option(help="Pictures a step; 16.")] = None,
    weights: Annotated[Path | None, typer.Option(help="A lookonce model to start from.")] = None,
    names: Annotated[Path | None, typer.Option(help="Class names, where the annotations have none.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="A YAML file of settings.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting, such as optimizer.rate=0.0005.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad row or picture.")] = False,
    self_test: Annotated[
        bool, typer.Option("--self-test", help="Only memorise 8 pictures: are data and settings sound?")
    ] = False,
) -> None:
    """Train a detector on annotated pictures.

    Example: lookonce train my-pictures/ --size 320 --epochs 60 --out runs/mine
    """
    from lookonce.commands import train as command

    shared: dict[str, Any] = {
        "names": names,
        "recipe": recipe,
        "assignments": assignments or (),
        "strict": strict,
        "model": model,
        "size": size,
        "epochs": epochs,
        "batch": batch,
    }
    if self_test:
        raise typer.Exit(command.self_test(data, **shared))
    raise typer.Exit(command.train(data, out, weights=weights, resume=resume, **shared))


def main() -> None:
    """Run the command line; an error of the input becomes one line and exit code 2."""
    try:
        app()
    except LookonceError as error:
        typer.echo(f"lookonce: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("lookonce: stopped", err=True)
        sys.exit(130)
