"""Write docs/commands.md, the reference of the command line, from the commands themselves.

Run: python scripts/command_reference.py
A test compares the page with the commands, so no default can differ from it.
"""

from pathlib import Path
from typing import Any

from lookonce.cli import DATA_VERBS, VERBS, load

PAGE = Path(__file__).parent.parent / "docs" / "commands.md"
HEAD = """\
# Commands

Every command, with its arguments, options and defaults. `lookonce COMMAND -h` prints the same.

Exit codes: 0 done, 1 ran but found problems, 2 wrong input; 130 and 143 when stopped by Ctrl-C or SIGTERM.

A command replaces only files that it wrote itself and that nobody changed since; it knows them by a hidden
list, `.lookonce`, in the folder that holds them. `--force` replaces other files, but never an input of the
run. While a command writes a folder, a second one that would write there stops with exit code 2.

This page is made by `python scripts/command_reference.py`.
"""


def reference() -> str:
    """Return the page."""
    commands = [verb for verb in VERBS if verb != "data"] + [f"data_{verb}" for verb in DATA_VERBS]
    return "\n".join([HEAD, *(_section(command) for command in commands)])


def _section(name: str) -> str:
    command = load(name)
    summary, _, rest = command.help.partition("\n")
    text, _, example = rest.strip().rpartition("Example: ")
    required = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and each.name != "help"]
    verb = name.replace("data_", "data ")
    words = [f"{each.metavar or each.name.upper()}{'...' if each.nargs == -1 else ''}" for each in required]
    lines = [f"## {verb}", "", f"`lookonce {verb} {' '.join([*words, '[OPTIONS]'])}`", "", summary]
    if text.strip():
        lines += ["", " ".join(text.split())]
    lines += ["", f"    {' '.join(example.split())}", "", "| | | default |", "|---|---|---|"]
    lines += [f"| `{word}` | {each.help} | required |" for word, each in zip(words, required, strict=True)]
    lines += [f"| `{_usage(each)}` | {each.help} | {_default(each)} |" for each in options]
    return "\n".join([*lines, ""])


def _usage(option: Any) -> str:
    """Return an option as it is typed."""
    flag = max(option.opts, key=len)
    return flag if option.is_flag else f"{flag} {option.metavar or option.name.upper()}"


def _default(option: Any) -> str:
    if isinstance(option.show_default, str):
        return option.show_default
    if option.required:
        return "required"
    return "" if option.default is None or option.is_flag else f"`{option.default}`"


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
