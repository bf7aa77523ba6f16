"""The command line: parses, then imports the one command it runs.

Exit codes: 0 done, 1 ran but found problems, 2 wrong input.
"""

import sys

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
