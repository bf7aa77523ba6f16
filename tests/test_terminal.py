"""Names from files cannot steer the terminal."""

import io
import json

import pytest
from rich.table import Table

from lookonce._terminal import (
    ERROR_LENGTH,
    print_json,
    print_line,
    printable,
    progress_bar,
    say,
    shortened,
    terminal,
)

EVIL = "cat\x1b[2J\x9b31m\x07\u202e\x7f\udc80\nlookonce: fine"
SAFE = r"cat\x1b[2J\x9b31m\x07\u202e\x7f\udc80\nlookonce: fine"


def test_a_line_is_one_line_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    say(EVIL, terminal())
    assert capsys.readouterr().out == SAFE + "\n"
    say("[bold]a  b[/] :smile:", terminal(stderr=True))
    assert capsys.readouterr().err == "[bold]a  b[/] :smile:\n"
    say(EVIL)
    print_line(EVIL)
    assert capsys.readouterr() == (SAFE + "\n", SAFE + "\n")


def test_a_table_and_a_progress_bar_are_safe_too(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(EVIL)
    table.add_row(EVIL)
    console = terminal()
    console.print(table)
    console.file, console._force_terminal = (drawn := io.StringIO()), True
    with progress_bar(console) as progress:
        progress.add_task("\x1b[31mdetecting[b]", total=1)
    for text in (capsys.readouterr().out, drawn.getvalue()):
        assert "\x1b[2J" not in text
        assert "\x1b[31m" not in text
        assert not {"\x07", "\x9b", "\u202e"} & set(text)
    assert "detectin" in drawn.getvalue()


def test_json_is_safe_and_unchanged(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": EVIL, "ü": 1})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"name": EVIL, "ü": 1}
    assert not {"\x1b", "\x9b", "\u202e"} & set(printed)
    assert "ü" in printed


def test_a_long_error_keeps_its_beginning_and_end() -> None:
    message = shortened("a" * 5000 + "\x1b" * 5000 + "end")
    assert len(message) <= ERROR_LENGTH
    assert message.startswith("aaa")
    assert message.endswith("end")
    assert shortened("short\x1b") == r"short\x1b"
    assert printable("a\tb") == r"a\tb"
