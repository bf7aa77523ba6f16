"""The commands and the Python of `docs/darknet.md` run on a real model, in the order of the page."""

import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lookonce.annotations import load_splits
from lookonce.annotations.write import write_samples
from lookonce.metadata import ModelInfo
from lookonce.model.darknet_io import save_darknet
from lookonce.model.files import save_model
from lookonce.model.network import build
from tests.command_line import invoke

PAGE = Path(__file__).parents[2] / "docs" / "darknet.md"
INFO = ModelInfo(
    "yolov3-tiny",
    names=("cat", "dog"),
    anchors=(((10.0, 13.0), (16.0, 30.0)), ((62.0, 45.0), (59.0, 119.0))),
    strides=(16, 32),
    input_size=(96, 96),
    width=0.125,
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)


@pytest.fixture
def desk(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with all files that the page names, and change to it."""
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    source = data / "darknet" / "MobileNetV2-YOLOv3-Nano-coco.cfg"
    for suffix in (".cfg", ".weights"):
        shutil.copy(source.with_suffix(suffix), tmp_path / f"model{suffix}")
    shutil.copy(data / "darknet" / "coco.names", tmp_path / "model.names")
    shutil.copy(source.with_suffix(".weights"), tmp_path / "model_best.weights")
    (tmp_path / "photos").symlink_to((data / "photos" / "dog.jpg").parent)
    some = {
        split: replace(found, samples=found.samples[:8])
        for split, found in load_splits(data / "voc_sample").items()
    }
    write_samples(some, "coco", tmp_path / "my-images")  # a hundred would take a minute
    torch.manual_seed(0)
    save_model(tmp_path / "best.safetensors", build(INFO).state_dict(), INFO)
    save_darknet(tmp_path / "yolov3-tiny.cfg", build(INFO), INFO)
    return tmp_path


def test_the_commands_print_what_the_page_shows(desk: Path) -> None:
    said = ""
    for line in re.findall(r"^\$ lookonce (.+)$", "\n".join(blocks("console")), re.M):
        found = invoke(*shlex.split(line))
        assert found.exit_code == 0, line
        said += found.output

    assert "model.cfg: darknet, 80 classes, input 320x320 (height x width), stretch" in said
    assert "input 416x416 (height x width), stretch" in said
    assert "model.weights: copied 57 of 59 convolutions; fresh: layers.68, layers.78\n" in said
    assert "yolov3-tiny, 2 classes, written as for-darknet/best.cfg" in said


def test_the_python_examples_run(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    detect, load = blocks("python")

    exec(detect, {})
    assert "dog 0.98 at " in capsys.readouterr().out

    exec(load, {})
    assert capsys.readouterr().out == "darknet (16, 32) 80 classes\n"
