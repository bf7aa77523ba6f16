"""The table of verbs, and the required contents of every help text."""

import os
import re
import signal
import subprocess
import sys
import time
from importlib import import_module
from inspect import getdoc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from lookonce.cli import DATA_VERBS, VERBS, app, load, main
from lookonce.commands.detect import detect
from lookonce.commands.evaluate import evaluate
from lookonce.images import write_image
from tests.command_line import lookonce
from tests.tiny_onnx import write_tiny_model

COMMANDS = [*(verb for verb in VERBS if verb != "data"), *(f"data_{verb}" for verb in DATA_VERBS)]


def words(command: str) -> list[str]:
    return command.replace("data_", "data ").split()


def options(command: str) -> list[Any]:
    return [parameter for parameter in load(command).params if parameter.name != "help"]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_list_of_commands_has_their_first_lines(command: str) -> None:
    described = (VERBS | {f"data_{verb}": text for verb, text in DATA_VERBS.items()})[command]
    function = getattr(import_module(f"lookonce.commands.{command}"), command)
    assert (getdoc(function) or "").splitlines()[0] == described
    assert "Example: lookonce " + " ".join(words(command)) in (getdoc(function) or "")


@pytest.mark.parametrize("command", ["", "data", *COMMANDS])
def test_help_shows_everything_in_80_columns(command: str) -> None:
    shown = [
        CliRunner().invoke(app, [*words(command), option], env={"COLUMNS": "80", "TERM": "dumb"})
        for option in ("-h", "--help")
    ]
    assert shown[0].stdout == shown[1].stdout
    assert shown[0].exit_code == 0
    assert "…" not in shown[0].stdout
    assert max(map(len, shown[0].stdout.splitlines())) <= 80
    if command in COMMANDS:
        names = [name for option in options(command) for name in option.opts if name.startswith("--")]
        assert [name for name in names if name not in shown[0].stdout] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_one_phrase_of_help_and_shows_its_default(command: str) -> None:
    for option in options(command):
        assert option.help, option.name
        assert option.help.endswith("."), option.help
        plain = option.default is None or isinstance(option.default, bool)
        assert plain or option.show_default, option.name


def test_defaults_that_decide_results_are_fixed() -> None:
    assert defaults(detect) | {"conf": None, "iou": 0.45, "overlap": 0.2} == defaults(detect)
    assert defaults(evaluate) | {"conf": 0.001, "iou": 0.45, "overlap": 0.2, "split": None} == defaults(
        evaluate
    )


def defaults(function: Any) -> dict[str, Any]:
    return {option.name: option.default for option in options(function.__name__)}


def test_the_main_help_imports_no_command() -> None:
    code = "import sys; sys.argv = ['lookonce', '--help']\nfrom lookonce.cli import main\n"
    code += "try: main()\nexcept SystemExit: pass\nprint(sorted(m for m in sys.modules if 'commands' in m))"
    code += "\nprint('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["[]", "False"]


def test_detecting_imports_no_annotation_format() -> None:
    code = "import sys, lookonce.commands.detect, lookonce.darknet.files\n"
    code += "print([m for m in sys.modules if m.startswith('lookonce.annotations')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(("save", "draws"), [("json,csv", False), ("images", True)])
def test_detecting_on_an_image_does_not_import_rich(save: str, draws: bool, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros((64, 96, 3), np.uint8))
    words = ["detect", write_tiny_model(tmp_path / "tiny.onnx"), tmp_path / "a.png", "--save", save]
    code = "import sys; sys.argv = ['lookonce', *sys.argv[1:]]\nfrom lookonce.cli import main\n"
    code += "try: main()\nexcept SystemExit: pass\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words), "--out", tmp_path / "out"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "done: 1 image, 0 detections" in done.stdout
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "rich" not in loaded
    assert ("PIL.ImageDraw" in loaded) == draws


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("detetc", "No such command 'detetc'. Did you mean 'detect'?"),
        ("data conv", "No such command 'conv'. Did you mean 'convert'?"),
        ("xyz", "No such command 'xyz'."),
        ("--nonsense", "No such option: --nonsense"),
    ],
)
def test_an_unknown_verb_is_a_usage_error(argument: str, message: str) -> None:
    ran = CliRunner().invoke(app, argument.split())
    assert ran.exit_code == 2
    assert message in ran.output


def test_version_prints_the_version() -> None:
    assert re.fullmatch(r"lookonce \d+\.\d+.*\n", CliRunner().invoke(app, ["--version"]).stdout)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["detect", "coco", "a.png", "--threads", "x"],
            "--threads: expected a valid integer, found 'x' (help: lookonce detect -h)",
        ),
        (
            ["detect", "coco", "a.png", "--threads=0"],
            "--threads: expected a number greater than or equal to 1, found '0' (help: lookonce detect -h)",
        ),
        (
            ["data", "next", "coco", "a", "--count=\x1b[2J"],
            r"--count: expected a valid integer, found '\x1b[2J' (help: lookonce data next -h)",
        ),
        (
            ["export", "coco", "--to", "tflite"],
            "--to: 'tflite' is not one of 'onnx', 'openvino', 'ncnn', 'darknet' (help: lookonce export -h)",
        ),
        (["detect", "coco"], "Missing argument 'SOURCE' (help: lookonce detect -h)"),
        (["rename", "coco", "a=b"], "Missing option '--out' (help: lookonce rename -h)"),
        (["models", "more"], "Got unexpected extra argument(s) (more) (help: lookonce models -h)"),
        (["detekt"], "No such command 'detekt'. Did you mean 'detect'? (help: lookonce -h)"),
        (["train", "a", "--out="], "--out: expected a value, found an empty one"),
        (["train", "a", "--out", ""], "--out: expected a value, found an empty one"),
        (["detect", "coco", ""], "after coco: expected a value, found an empty one"),
        ([""], "command: expected a value, found an empty one"),
    ],
)
def test_a_usage_error_is_one_line(words: list[str], line: str) -> None:
    assert lookonce(*words) == (2, "", f"lookonce: {line}\n")


def test_a_command_without_arguments_shows_help() -> None:
    for words in ([], ["data"]):
        ran = lookonce(*words)
        assert ran.returncode == 2
        assert "Usage:" in ran.stdout


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(13, "Permission denied", "a\x1b[2Jb"), r"lookonce: a\x1b[2Jb: Permission denied"),
        (OSError("no number"), "lookonce: no number"),
        (KeyboardInterrupt(), "lookonce: stopped"),
        (MemoryError(), "lookonce: not enough memory for this input"),
    ],
)
def test_an_error_is_one_safe_line(
    error: BaseException, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**options: object) -> None:
        raise error

    monkeypatch.setattr("lookonce.cli.app", fail)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == (130 if isinstance(error, KeyboardInterrupt) else 2)
    assert capsys.readouterr().err == f"{line}\n"


def test_a_warning_is_one_short_safe_line() -> None:
    code = (
        "import logging, lookonce.cli as cli\n"
        "log = logging.getLogger('lookonce.x')\n"
        "cli.app = lambda **options: log.warning('%s', 'a\\x1b[2J\\nb' * 100_000)\n"
        "cli.main()"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    assert said.startswith(r"a\x1b[2J\nba")
    assert said.count("\n") == 1
    assert len(said) < 1000


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX users")
@pytest.mark.parametrize("command", ["--help", "data stats .", "fetch yolov3-tiny"])
def test_a_user_without_a_home_or_an_entry_gets_no_traceback(command: str, tmp_path: Any) -> None:
    code = "import os, pwd\npwd.getpwuid = lambda uid: {}[uid]\nfrom lookonce.cli import main\nmain()"
    unset = ("HOME", "LOOKONCE_CACHE", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        [sys.executable, "-c", code, *command.split()],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment | {"LOOKONCE_MIRROR": tmp_path.as_uri()},
    )
    assert done.returncode in (0, 2)
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 1


STUCK = """
import ctypes
import signal
import lookonce.cli as cli

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for commands in the background

def stuck(**options):  # a mutex that is locked twice waits in C for ever, as an engine may
    mutex, c = ctypes.create_string_buffer(128), ctypes.CDLL(None)
    c.pthread_mutex_lock(mutex)
    print("stuck", flush=True)
    c.pthread_mutex_lock(mutex)

cli.app = stuck
cli.main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="blocks in the C library")
def test_a_second_ctrl_c_ends_a_stuck_command() -> None:
    with subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "stuck\n"
        time.sleep(0.5)  # it is one statement later
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):  # it waits for the engine
            process.wait(timeout=2)
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(timeout=30) == 130
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("lookonce ev", ["evaluate"]),
        ("lookonce data ch", ["check"]),
        ("lookonce detect --so", ["--soft-nms"]),
        ("lookonce data check --det", ["--detector"]),
    ],
)
def test_shells_complete_commands_and_options(typed: str, offered: list[str]) -> None:
    asked = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "_LOOKONCE_COMPLETE": "complete_bash"}
    code = "import sys; sys.argv = ['lookonce']\nfrom lookonce.cli import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == offered
