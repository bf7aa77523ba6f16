"""`lookonce advise`, and `lookonce train --for`, which chooses by the same measurement."""

import json
import shlex
from pathlib import Path

import pytest

from lookonce.bench.networks import Choice
from lookonce.metadata import DARKNET
from lookonce.model.files import load_info
from tests.command_line import lookonce
from tests.commands.test_train import lines as lines

QUICK = ["--set", "batch=3", "--set", "workers=1", "--epochs", "1"]


def given(lines: Path) -> list[object]:
    return [lines, "--names", lines.parent / "things.names"]


def test_every_network_is_timed_and_trained(lines: Path, tmp_path: Path) -> None:
    report = tmp_path / "advised.json"
    ran = lookonce("advise", *given(lines), "--size", "64x96", "--json", report)
    assert ran.returncode == 0, ran.stderr
    tree = json.loads(report.read_text())
    assert tree["size"] == [64, 96]
    by_options = {row["options"]: row for row in tree["networks"]}
    assert "--weights coco" in by_options
    assert "--model yolov3-tiny" in by_options
    for row in tree["networks"]:
        assert row["milliseconds"] > 0
        images = row["minutes"] * 60 * row["images_per_second"] / 30
        assert images == pytest.approx(lines.read_text().count("\n"))
    assert "64x96 (height x width)" in ran.stdout
    command = shlex.split(ran.stdout.replace("\n", " ").rpartition("in the first line: ")[2])
    assert command[:3] == ["lookonce", "train", str(lines)]
    assert "64x96" in command


@pytest.mark.parametrize(
    ("choice", "chosen", "architecture"),
    [
        (Choice("yolov3-tiny-3l", 0.5, 0.4), "--model yolov3-tiny-3l --set width=0.5", "yolov3-tiny-3l"),
        (Choice("coco", 1, 0.4), "--weights coco", DARKNET),
    ],
)
def test_train_takes_the_most_accurate_network_that_is_fast_enough(
    lines: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    choice: Choice,
    chosen: str,
    architecture: str,
) -> None:
    worse = Choice("yolov3-tiny", 0.25, 0.3)
    monkeypatch.setattr("lookonce.bench.networks.CHOICES", (worse, choice))
    out = tmp_path / "run"
    ran = lookonce("train", *given(lines), "--for", "60000ms", "--size", "64x96", *QUICK, "--out", out)
    assert ran.returncode == 0, ran.stderr
    assert f"--for 60000ms: {chosen} at 64x96 (height x width)" in ran.stdout.replace("\n", " ")
    info = load_info(out / "last.safetensors")
    assert (info.architecture, info.input_size) == (architecture, (64, 96))
    assert info.width == choice.width
    assert ("start: coco:" in ran.stdout) is (choice.model == "coco")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--for", "0.00001ms"], "--for: expected "),
        (["--for", "soon"], "--for: expected milliseconds per image above 0, such as 5ms, found 'soon'"),
        (["--for", "-1"], "--for: expected milliseconds per image above 0, such as 5ms, found '-1'"),
        (["--for", "nan"], "--for: expected milliseconds per image above 0"),
        (["--for", "5ms", "--model", "yolov3"], "--for: chooses the network and its size"),
    ],
)
def test_a_time_that_cannot_be_met_is_one_line(
    lines: Path, tmp_path: Path, words: list[str], complaint: str
) -> None:
    out = tmp_path / "run"
    ran = lookonce("train", *given(lines), *words, "--size", "64x96", "--out", out)
    assert ran.returncode == 2
    assert ran.stderr.startswith(f"lookonce: {complaint}")
    assert ran.stderr.count("\n") == 1
    assert not out.exists()
