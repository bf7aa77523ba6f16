"""`--json` has one meaning in all commands: a file for the result, or `-` for standard output only."""

import json
from pathlib import Path

import pytest

from lookonce.cli import DATA_VERBS, VERBS, load
from lookonce.images import write_image
from tests.command_line import typed
from tests.hostile.inputs import zipped
from tests.tiny_onnx import YELLOW, image, write_tiny_model

LINES = {
    "evaluate": "evaluate model.onnx lines.txt --names names.txt --explain 0",
    "compare": "compare model.onnx model.onnx lines.txt --names names.txt",
    "detect": "detect model.onnx photo.png --out found",
    "explain": "explain coco photo.png",
    "bench": "bench coco --against onnxruntime --rounds 1",
    "models": "models",
    "recipes": "recipes",
    "data_check": "data check lines.txt --names names.txt",
    "data_stats": "data stats lines.txt --names names.txt",
    "data_next": "data next coco photo.png --count 1 --out next.txt",
    "data_anchors": "data anchors lines.txt --names names.txt",
}
ELSEWHERE = {
    "advise": "tests/commands/test_advise.py",  # needs training images, and trains
    "fetch": "tests/commands/test_fetch_command.py",  # needs a server
    "slim": "tests/commands/test_slim.py",  # trains
    "tune": "tests/bench/test_tune.py",  # takes minutes
}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a model, an image and its annotation."""
    write_tiny_model(tmp_path / "model.onnx")
    write_image(tmp_path / "photo.png", image((96, 96), ((32, 32, 64, 64), YELLOW)))
    (tmp_path / "lines.txt").write_text("photo.png 32,32,64,64,0\n")
    (tmp_path / "names.txt").write_text("green\nblue\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_every_command_with_the_option_is_tested() -> None:
    commands = [*(verb for verb in VERBS if verb != "data"), *(f"data_{verb}" for verb in DATA_VERBS)]
    options = {name: [word for each in load(name).params for word in each.opts] for name in commands}
    having = {name for name in commands if "--json" in options[name]}
    assert having == {*LINES, *ELSEWHERE}
    assert {name for name in having if "--force" not in options[name]} == set()


@pytest.mark.parametrize("name", LINES)
def test_a_file_and_standard_output_hold_the_same_json(
    name: str, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(*f"{LINES[name]} --json numbers.json".split()) in (0, 1)
    written = json.loads((desk / "numbers.json").read_text("utf-8"))
    capsys.readouterr()
    assert typed(*f"{LINES[name]} --json -".split()) in (0, 1)
    printed = json.loads(capsys.readouterr().out)
    assert type(printed) is type(written)
    assert list(printed) == list(written) or printed == written
    assert not (desk / "-").exists()


@pytest.mark.parametrize("name", LINES)
def test_a_foreign_file_is_not_replaced(name: str, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (desk / "mine.json").write_text("mine")
    assert typed(*f"{LINES[name]} --json mine.json".split()) == 2
    assert (desk / "mine.json").read_text() == "mine"
    assert "mine.json: exists and was not written by" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["data anchors none.txt", "fetch yolov3-tiny"])
def test_a_foreign_file_is_refused_before_the_work(
    line: str, desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOOKONCE_MIRROR", (desk / "no mirror").as_uri())
    (desk / "mine.json").write_text("mine")
    assert typed(*f"{line} --json mine.json".split()) == 2
    assert "mine.json: exists and was not written by" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["models", "recipes", "data_anchors"])
def test_force_replaces_a_foreign_file(name: str, desk: Path) -> None:
    (desk / "mine.json").write_text("mine")
    assert typed(*f"{LINES[name]} --json mine.json --force".split()) == 0
    assert json.loads((desk / "mine.json").read_text("utf-8"))


@pytest.mark.parametrize("name", [name for name, line in LINES.items() if "lines.txt" in line])
def test_results_on_a_zip_name_the_zip(name: str, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo, box = (desk / "photo.png").read_bytes(), b"0 0.5 0.5 0.3 0.3\n"
    files = [("images/a.png", photo), ("labels/a.txt", box + b"0 0.5 0.5 0.3\n"), ("labels/b.txt", box)]
    (desk / "set.zip").write_bytes(zipped(*files, ("classes.txt", b"green\nblue\n")))
    line = LINES[name].replace("lines.txt --names names.txt", "set.zip")
    assert typed(*f"{line} --json numbers.json".split()) in (0, 1)
    assert typed(*f"{line} --json - --force".split()) in (0, 1)
    written = [path for path in desk.rglob("*") if path.is_file() and desk / "cache" not in path.parents]
    texts = [path.read_text("utf-8") for path in written if path.suffix in (".json", ".html", ".csv")]
    assert [text for text in (*texts, *capsys.readouterr()) if str(desk / "cache") in text] == []
    assert name == "data_anchors" or "set.zip" in (desk / "numbers.json").read_text("utf-8")
