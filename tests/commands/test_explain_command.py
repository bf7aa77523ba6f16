"""`lookonce explain`: its files, output and errors."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lookonce.annotations import write_samples
from lookonce.images import write_image
from lookonce.samples import Sample, SampleSet
from tests.command_line import typed
from tests.explain.models import write_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Write an image, annotated with other class order and one class more, and another of the same name."""
    names = ("ring", "thing", "disc")
    for folder in ("a", "b"):
        noise = np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8)
        write_image(tmp_path / folder / "p.png", noise)
    boxes = np.array([[5, 5, 30, 40], [20, 20, 50, 50], [40, 5, 70, 30]], np.float32)
    samples = [Sample(tmp_path / "a" / "p.png", boxes, np.array([0, 1, 2]))]
    write_samples({"all": SampleSet(names, samples, [], "drawn")}, "coco", tmp_path / "truth")
    return tmp_path / "a" / "p.png"


def test_a_page_and_its_records_are_written(
    model: Path,
    image: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, records = tmp_path / "new" / "p.html", tmp_path / "p.json"
    options = ["--out", out, "--json", records, "--conf", 0.6, "--iou", 0.3, "--size", "64x96"]
    assert typed("explain", model, image, *options) == 0
    written = json.loads(records.read_text())
    assert written["input"]["target"] == [64, 96]
    assert written["nms"]["score_thresholds"] == [0.6] * 3
    assert written["nms"]["iou_threshold"] == 0.3
    assert written["truth"] is None
    assert "<title>p.png through yolov3-tiny, explained</title>" in out.read_text()
    said = capsys.readouterr().out
    assert f"page: {out}" in said


def test_truth_is_matched_by_class_name(
    model: Path,
    image: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    records, truth = tmp_path / "p.json", tmp_path / "truth"
    options = ["--truth", truth, "--json", records, "--out", tmp_path / "p.html"]
    assert typed("explain", model, image, *options) == 0
    objects = json.loads(records.read_text())["truth"]["objects"]
    assert [(each["name"], each["box"]) for each in objects] == [
        ("ring", [5, 5, 30, 40]),
        ("disc", [40, 5, 70, 30]),
    ]
    said = capsys.readouterr().out
    assert "1 of 3 objects skipped: the model does not know thing" in said
    assert "2 annotated objects: " in said


def test_markdown_goes_to_the_terminal(
    model: Path,
    image: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert typed("explain", model, image, "--markdown") == 0
    assert capsys.readouterr().out.startswith("# p.png through yolov3-tiny\n")
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model", "absent.png"], "absent.png"),
        (["absent.safetensors", "image"], "absent.safetensors: no such file"),
        (["model", "image", "--out", "page.png"], "--out: expected the name of a page, such as page.html"),
        (["model", "image", "--size", "65"], "--size: expected a size like 416"),
        (["model", "image", "--conf", "2"], "--conf: expected a number from 0 to 1, found 2"),
        (["model", "other", "--truth", "truth"], "or one named other.png, found none among 1: p.png"),
    ],
)
def test_wrong_input_leaves_no_page(
    words: list[str],
    message: str,
    model: Path,
    image: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    other = shutil.copy(image, tmp_path / "other.png")
    known = {"model": model, "image": image, "other": other}
    assert typed("explain", *(known.get(word, word) for word in words)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()
