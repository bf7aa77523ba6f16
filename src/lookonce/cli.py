"""The command line: a table of commands, each in its own module, which is imported when it is used.

Exit codes: 0 done, 1 ran but found problems, 2 wrong input; 130 after Ctrl-C, 143 after SIGTERM, and 141 if
the reader of standard output ends first.
"""

import functools
import gc
import logging
import sys
from difflib import get_close_matches
from importlib import import_module
from io import TextIOWrapper
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from lookonce._interrupts import SecondCtrlC
from lookonce._streams import prepare_streams
from lookonce.errors import ConfigError, LookonceError

# Verb -> first line of the docstring of its function, which has the same name: `train`, `data_check`.
VERBS = {
    "demo": "Render images, train, evaluate, detect and explain, in a few minutes on two cores.",
    "train": "Train a detector on annotated images.",
    "advise": "Compare networks for these images: speed and training time, and AP on two other data sets.",
    "slim": "Make a trained model faster: remove channels, then train on DATA and on the model's output.",
    "evaluate": "Measure a model on annotated images: COCO's metrics, curves, counts and errors.",
    "compare": "Find out which of two models is better on the same images, and how certain that is.",
    "detect": "Find objects in images and videos.",
    "explain": "Show every step from image to detections: shapes, formulas, numbers, losses.",
    "export": "Export a model for another program, and check that it gives the same results.",
    "bench": "Measure how fast a model runs on this machine, compared with other engines.",
    "tune": "Find the fastest way to run a model on this machine: engine, precision, threads.",
    "fetch": "Fetch official weights into the cache, with .cfg and class names.",
    "models": "List the trained models: the built-in one, and those that you can fetch.",
    "rename": "Change class names in a copy of a model file; the weights stay identical.",
    "recipes": "List the recipes that come with the package, and how each differs from the default.",
    "data": "Inspect and convert annotations.",
}
DATA_VERBS = {
    "check": "Find mistakes in images and boxes; the exit code is 1 if some need a decision.",
    "stats": "Count images, classes and box sizes in every split.",
    "anchors": "Find the anchors that suit the boxes, and compare them with the published ones.",
    "convert": "Write annotations in another format, split by split.",
    "next": "Choose the images most worth labeling next, or the false alarms most worth learning from.",
}
FILES = {"names", "images", "weights"}  # options of many commands, which errors of the library name
WRONG_USAGE: Any = typer.BadParameter.__base__  # base class of all usage errors, which typer does not export
SETTINGS: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": "rich",
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


class Verbs(TyperGroup):
    """A group of commands that are listed without being imported."""

    verbs, prefix = VERBS, ""

    def list_commands(self, ctx: Any) -> list[str]:
        """List the commands in the order of the table."""
        return list(self.verbs)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the entry of a command in the list; None for an unknown name."""
        return TyperCommand(cmd_name, help=self.verbs[cmd_name]) if cmd_name in self.verbs else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the given command; suggest a similar name for an unknown one."""
        if args and args[0] not in self.verbs:
            for near in get_close_matches(args[0], self.verbs, n=1):
                ctx.fail(f"No such command {args[0]!r}. Did you mean {near!r}?")
        name, listed, rest = super().resolve_command(ctx, args)
        return name, listed and load(f"{self.prefix}{listed.name}"), rest


class DataVerbs(Verbs):
    """The group of the `lookonce data` commands."""

    verbs, prefix = DATA_VERBS, "data_"


def load(verb: str) -> Any:
    """Import a command, such as `train` or `data_check`, and return it in the form that typer runs.

    The function of the command returns the exit code, or a result with the attribute `exit_code`.
    """
    if verb == "data":
        return typer.main.get_command(data_app)
    function = getattr(import_module(f"lookonce.commands.{verb}"), verb)
    from lookonce.commands.options import options_named

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        gc.enable()
        with options_named(FILES):
            result = function(*args, **kwargs)
        raise typer.Exit(result if isinstance(result, int) else result.exit_code)

    command = typer.Typer(**SETTINGS)
    command.command(verb.removeprefix("data_"))(run)
    return typer.main.get_command(command)


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    help="YOLOv3: train on your own images, detect on an ordinary CPU, read and write Darknet models.",
    **{**SETTINGS, "add_completion": True},  # --install-completion
)
data_app = typer.Typer(cls=DataVerbs, no_args_is_help=True, help=VERBS["data"], **SETTINGS)
data_app.callback()(lambda: None)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Show the version and exit.")) -> None:
    if version:
        from lookonce import __version__

        typer.echo(f"lookonce {__version__}")
        raise typer.Exit


class _OneLine(logging.Formatter):
    """A formatter that gives warnings the form of errors: one short line without control characters."""

    def format(self, record: logging.LogRecord) -> str:
        from lookonce._terminal import shortened

        return shortened(super().format(record))


def _wrong_usage(error: typer.BadParameter) -> str:
    """Return one line about a usage error, with the option, the expected value and the one found."""
    from pydantic import ValidationError

    param, cause = getattr(error, "param", None), error.__cause__
    told = error.format_message()
    if param is not None and isinstance(cause, ValidationError):  # typer's message lacks the value
        wrong = cause.errors(include_url=False)[0]
        flag = max(param.opts, key=len)
        name = flag if flag.startswith("-") else param.metavar or flag.upper()
        told = wrong["msg"].removeprefix("Value error, ")
        if told.startswith("Input should be "):
            sort = "a number " if "than" in told else ""
            told = f"expected {sort}{told[16:].partition(',')[0]}, found {wrong['input']!r}"
        told = f"{name}: {told}"
    path = getattr(error.ctx, "command_path", "lookonce").partition("lookonce")[2]
    return f"{told.rstrip('.')} (help: lookonce{path} -h)"


def _refuse_empty(words: list[str]) -> None:
    """Refuse an empty argument, such as an unset shell variable: as a path, it would be the current folder.

    Raises:
        ConfigError: an argument is empty.
    """
    for before, word in zip(["", *words], words, strict=False):
        name, equals, value = word.partition("=")
        if not word or (word.startswith("--") and equals and not value):
            place = name or (before if before.startswith("-") else f"after {before}" if before else "")
            raise ConfigError(f"{place or 'command'}: expected a value, found an empty one")


def main() -> None:
    """Run the command line.

    Wrong input, a disk error or a lack of memory leads to a message of one line and exit code 2.
    """
    gc.disable()  # until a command runs; imports make no garbage, and collecting takes 4% of the startup
    prepare_streams()
    if logging.lastResort is not None:  # the handler of the package's warnings
        logging.lastResort.setFormatter(_OneLine())
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be valid Unicode
    try:
        with SecondCtrlC():
            _refuse_empty(sys.argv[1:])
            code = app(standalone_mode=False)
            if sys.stdout is not None:
                sys.stdout.flush()
        sys.exit(code)
    except WRONG_USAGE as error:
        from lookonce._terminal import shortened

        if not sys.argv[1:] or sys.argv[1:] == ["data"]:  # the error is the help
            error.show()
        else:
            typer.echo(f"lookonce: {shortened(_wrong_usage(error))}", err=True)
        sys.exit(2)
    except (LookonceError, OSError) as error:
        from lookonce._terminal import shortened

        path = error.filename if isinstance(error, OSError) else None
        message = str(error)
        if isinstance(error, OSError) and error.strerror:
            message = f"{path}: {error.strerror}" if path else error.strerror
        typer.echo(f"lookonce: {shortened(message)}", err=True)
        sys.exit(2)
    except MemoryError:
        typer.echo("lookonce: not enough memory for this input", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("lookonce: stopped", err=True)
        sys.exit(130)
    finally:
        gc.enable()  # for programs that call this function
