"""No command replaces inputs or, without `--force`, unknown files, or writes where another command writes."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lookonce._outputs import Outputs
from lookonce.images import write_image
from tests.command_line import typed
from tests.tiny_onnx import YELLOW, image, write_tiny_model

LINES = "photo.png 32,32,64,64,0\n"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a model, an image and its annotations in several formats."""
    write_tiny_model(tmp_path / "model.onnx")
    write_image(tmp_path / "photo.png", image((96, 96), ((32, 32, 64, 64), YELLOW)))
    (tmp_path / "lines.txt").write_text(LINES)
    (tmp_path / "names.txt").write_text("green\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def at_once() -> Iterator[None]:
    """End a command that hangs, for example waiting for the writer of a FIFO."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(30)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("force", ["", " --force"])
@pytest.mark.parametrize(
    "line",
    [
        "explain model.onnx photo.png --out photo.png",
        "explain model.onnx photo.png --out model.onnx",
        "explain model.onnx photo.png --out page.html --json ./model.onnx",
        "evaluate model.onnx lines.txt --names names.txt --json lines.txt",
        "evaluate model.onnx lines.txt --names names.txt --json model.onnx",
        "evaluate model.onnx lines.txt --names names.txt --json names.txt",
        "evaluate model.onnx . --names names.txt --json photo.png",
        "explain model.onnx photo.png --truth . --names names.txt --out lines.txt",
        "export model.onnx --to onnx --out model.onnx",
    ],
)
def test_an_input_is_never_overwritten(
    line: str, force: str, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(desk)
    assert typed(*(line + force).split()) == 2
    (said,) = capsys.readouterr().err.splitlines()
    refusals = "input of this run", "another file than the model", "expected the name of a page"
    assert any(each in said for each in refusals)
    assert content(desk) == before


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("detect model.onnx photo.png --out out", "out/annotated/photo.png"),
        ("detect model.onnx photo.png --out out", "out/detections.json"),
        ("data check lines.txt --names names.txt --out out", "out/findings.json"),
        ("data check lines.txt --names names.txt --out out", "out/report.html"),
        ("data stats lines.txt --names names.txt --out out", "out/stats.html"),
    ],
)
def test_a_foreign_file_is_kept_unless_forced(
    line: str, file: str, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(file).parent.mkdir(parents=True)
    Path(file).write_text("mine")
    assert typed(*line.split()) == 2
    assert f"{file}: exists and was not written by lookonce" in capsys.readouterr().err
    assert Path(file).read_text() == "mine"
    assert typed(*f"{line} --force".split()) in (0, 1)
    assert Path(file).read_bytes() != b"mine"
    assert typed(*line.split()) in (0, 1), "its own result is replaced without being asked"


def test_annotated_images_are_not_overwritten_as_inputs(
    desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(*["detect", "model.onnx", "photo.png", "--out", "."]) == 0
    before = (desk / "annotated" / "photo.png").read_bytes()
    assert typed(*["detect", "model.onnx", ".", "annotated", "--out", "."]) == 2
    assert "annotated/photo.png: an input of this run" in capsys.readouterr().err
    assert (desk / "annotated" / "photo.png").read_bytes() == before


@pytest.mark.parametrize(
    "line",
    [
        "detect model.onnx photo.png --out out",
        "evaluate model.onnx lines.txt --names names.txt --out out",
        "data convert lines.txt --names names.txt --to yolo --out out",
        "data check lines.txt --names names.txt --out out",
        "data check lines.txt --names names.txt --out elsewhere --fix out",
        "data stats lines.txt --names names.txt --out out",
        "train lines.txt --names names.txt --out out",
        "demo --out out",
        "bench model.onnx --out out",
    ],
)
def test_only_one_writer_uses_a_folder(line: str, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Outputs("another", folder=desk / "out"):
        assert typed(*line.split()) == 2
    assert "out: this process is writing there already" in capsys.readouterr().err
    assert not (desk / "out").exists()


def test_a_conversion_that_was_killed_is_done_again(desk: Path) -> None:
    (desk / "out" / ".lookonce-unfinished" / "images").mkdir(parents=True)
    (desk / "out" / ".lookonce.lock").write_text("process 1 on elsewhere\n")
    before = (desk / "out").stat().st_ino
    line = "data convert lines.txt --names names.txt --to yolo --out out"
    assert typed(*line.split()) == 0
    assert (desk / "out").stat().st_ino == before, "the folder, which may be a mount, stays"
    assert sorted(path.name for path in (desk / "out").iterdir()) == [
        "data.yaml", "images", "labels", "train.txt"
    ]  # fmt: skip
    assert typed(*line.split()) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX file kinds")
@pytest.mark.parametrize(
    "line",
    [
        "detect fifo.onnx photo.png",
        "detect fifo.safetensors photo.png",
        "detect fifo.xml photo.png",
        "detect model.onnx fifo.png",
        "detect model.onnx photo.png --save coco --coco-ids fifo.json",
        "detect model.onnx @fifo.txt",
        "evaluate model.onnx fifo.json",
        "evaluate model.onnx lines.txt --names fifo.txt",
        "train lines.txt --names names.txt --recipe fifo.yaml",
        "train lines.txt --names fifo.txt",
        "train fifo.yaml",
        "export fifo.safetensors --to onnx",
        "data check fifo.txt",
        "bench fifo.onnx",
        "slim fifo.safetensors --data lines.txt --names names.txt --out slim",
        "data check fifo.zip",
    ],
)
def test_a_fifo_is_refused_at_once(line: str, desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = next(word.lstrip("@") for word in line.split() if "fifo" in word)
    os.mkfifo(desk / name)
    with at_once():
        assert typed(*line.split()) in (1, 2)
    said = capsys.readouterr()
    last = said.err.splitlines()[-1]
    assert last.startswith("lookonce: ")
    assert name in last


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX file kinds")
@pytest.mark.parametrize("name", [".lookonce", ".lookonce.lock"])
@pytest.mark.parametrize("kind", ["FIFO", "link", "folder"])
def test_a_hidden_file_of_another_kind_is_refused(
    name: str, kind: str, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A FIFO would block, and through a link another file would be changed."""
    (desk / "out").mkdir()
    (desk / "theirs").write_text("theirs")
    make = {"FIFO": os.mkfifo, "folder": os.mkdir, "link": lambda path: path.symlink_to(desk / "theirs")}
    make[kind](desk / "out" / name)
    with at_once():
        assert typed("detect", "model.onnx", "photo.png", "--out", "out") == 2
    assert f"{name}: expected a file that lookonce wrote" in capsys.readouterr().err
    assert (desk / "theirs").read_text() == "theirs"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"file": "photo.png"', '"file": 5'),
        ('"width": 96', '"width": -1'),
        ('"width": 96', '"width": "x"'),
        ('"detections": [', '"detections": [null, '),
        ('"detections": ', '"other": '),
        ('"names": ', '"other": '),
        ('"names": ', '"values": [1, 1], "names": '),
        ('"names": ', '"values": [NaN, 1], "names": '),
        ('"names": ', '"values": 5, "names": '),
        ('{"file"', '[{"file"'),
    ],
)
def test_damaged_results_are_not_resumed(
    old: str, new: str, desk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["detect", "model.onnx", "photo.png", "other.png", "--save", "json", "--out", "out"]
    (desk / "other.png").write_bytes((desk / "photo.png").read_bytes())
    assert typed(*command) == 0
    results = desk / "out" / "detections.json"
    results.write_text(results.read_text().replace(old, new))
    code = typed(*command, "--resume")
    said = capsys.readouterr().err.splitlines()[-1]
    assert (code, said[:10]) == (2, "lookonce: ") or code == 0  # cut there, so the rest is detected again
    assert "Traceback" not in said
