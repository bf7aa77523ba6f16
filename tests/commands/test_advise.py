"""`lookonce advise`, and `lookonce train --for`, which chooses a network by the same measurement."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from lookonce.bench.networks import NetworkChoice
from lookonce.images import write_image
from lookonce.metadata import DARKNET, MOST_CLASSES
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
        low, high = row["ap_elsewhere"]
        assert 0 < low < high < 1
        assert f"{low:.2f} to {high:.2f}" in ran.stdout
        images = row["minutes"] * 60 * row["images_per_second"] / 30
        assert images == pytest.approx(lines.read_text().count("\n"))
    assert "64x96 (height x width)" in ran.stdout
    command = shlex.split(ran.stdout.replace("\n", " ").rpartition("to train the first: ")[2])
    assert command[:3] == ["lookonce", "train", str(lines)]
    assert "64x96" in command
    # the rendered objects are small at this size, so the lower AP, that on heads, is used
    ranks = [row["ap_elsewhere"][0] for row in tree["networks"]]
    assert ranks == sorted(ranks, reverse=True)
    assert command[3:5] == tree["networks"][0]["options"].split()[:2] == ["--weights", "coco"]
    assert "in order of AP on heads: " in ran.stdout.replace("\n", " ")


@pytest.mark.parametrize(
    ("choice", "chosen", "architecture"),
    [
        (
            NetworkChoice("yolov3-tiny-3l", 0.5, 0.4, 0.4),
            "--model yolov3-tiny-3l --set width=0.5",
            "yolov3-tiny-3l",
        ),
        (NetworkChoice("coco", 1, 0.4, 0.4), "--weights coco", DARKNET),
    ],
)
def test_train_chooses_the_most_accurate_network_that_is_fast_enough(
    lines: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    choice: NetworkChoice,
    chosen: str,
    architecture: str,
) -> None:
    worse = NetworkChoice("yolov3-tiny", 0.25, 0.3, 0.3)
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
        (["--for", "5ms", "--model", "yolov3"], "--for: expected none of --model"),
        (["--for", "5ms", "--set", "width=0.5"], "--for: expected none of --model"),
        (["--for", "60000ms", "--keep-classes"], "--for: expected none of --model"),
    ],
)
def test_an_impossible_time_is_one_line(
    lines: Path, tmp_path: Path, words: list[str], complaint: str
) -> None:
    out = tmp_path / "run"
    ran = lookonce("train", *given(lines), *words, "--size", "64x96", "--out", out)
    assert ran.returncode == 2
    assert ran.stderr.startswith(f"lookonce: {complaint}")
    assert ran.stderr.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize("size", [(), ("--size", "64")])
def test_without_boxes_nothing_is_timed(tmp_path: Path, size: tuple[str, ...]) -> None:
    write_image(tmp_path / "a.png", np.zeros((64, 64, 3), np.uint8))
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "classes.txt").write_text("disc\n")
    for words in (["advise", tmp_path], ["train", tmp_path, "--for", "5ms", "--out", tmp_path / "run"]):
        ran = lookonce(*words, *size)
        assert ran.returncode == 2
        assert ran.stderr.endswith("expected boxes to train on, found none in 1 image\n")


def test_more_classes_than_a_model_can_have_are_counted_before_any_work(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros((64, 64, 3), np.uint8))
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.3 0.3\n")
    (tmp_path / "classes.txt").write_text("".join(f"c{number}\n" for number in range(MOST_CLASSES + 1)))
    out = tmp_path / "run"
    train = ["train", tmp_path, "--out", out]
    for words in (["advise", tmp_path], train, [*train, "--for", "5ms"], [*train, "--folds", "2"]):
        ran = lookonce(*words, "--size", "64")
        assert ran.returncode == 2
        assert ran.stderr.endswith(f"{tmp_path}: expected at most 10,000 classes to train on, found 10,001\n")
        assert not [file for file in out.rglob("*") if file.is_file()]


def test_an_image_that_cannot_be_read_does_not_stop_the_timing(lines: Path) -> None:
    first = lines.read_text().split("\n")[0].split('"')[1]
    (lines.parent / first).write_bytes(b"no image")
    ran = lookonce("advise", *given(lines), "--size", "64", "--json", "-")
    assert ran.returncode == 1, ran.stderr
    assert all(row["images_per_second"] > 0 for row in json.loads(ran.stdout)["networks"])
