"""A run that is cut off and resumed leaves the files of one that was not."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.command_line import lookonce
from tests.tiny_onnx import MAGENTA, YELLOW, write_tiny_model

KINDS = "json,csv,counts,coco"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


def draw(seed: int) -> Image.Image:
    """An image of an odd size, so that boxes are no whole numbers when they come out of the letterbox."""
    random = np.random.default_rng(seed)
    colors = np.array([YELLOW, MAGENTA], np.uint8)[random.integers(0, 2, (2, 3))]
    width, height = random.integers(100, 300, 2).tolist()
    return Image.fromarray(colors).resize((width, height), Image.Resampling.NEAREST)


def pages(path: Path, seed: int, count: int) -> None:
    """A TIFF of several pages."""
    first, *rest = (draw(10 * seed + number) for number in range(count))
    first.save(path, save_all=True, append_images=rest)


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    """TIFFs of several pages, a file with the name that such a page would get, numbers, and folders."""
    for name in ("top", "top/below/one", "top/below/two"):
        (tmp_path / name).mkdir(parents=True)
    pages(tmp_path / "top" / "a.tif", 1, 3)
    draw(2).save(tmp_path / "top" / "a#2.tif")
    draw(3).save(tmp_path / "top" / "000007.png")
    draw(4).save(tmp_path / "top" / "12.jpg")
    pages(tmp_path / "top" / "13.tiff", 5, 2)
    pages(tmp_path / "top" / "below" / "one" / "b.tif", 6, 2)
    draw(7).save(tmp_path / "top" / "below" / "one" / "c #1.png")
    draw(8).save(tmp_path / "top" / "below" / "two" / "d.png")
    return [tmp_path / "top", tmp_path / "top" / "below" / "*" / "*"]


def cuts(text: str) -> Iterator[str]:
    """What a run may leave when it is killed: any number of lines, or a part of one."""
    lines = text.split("\n")
    for count in range(1, len(lines)):
        yield "\n".join(lines[:count])
    yield "\n".join(lines[:5]) + "\n" + lines[5][:90]


def written(folder: Path) -> dict[str, bytes]:
    """Every file below that is not hidden."""
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("[!.]*") if path.is_file()
    }


def test_every_cut_ends_in_the_files_of_a_whole_run(model: Path, sources: list[Path], tmp_path: Path) -> None:
    words = ["detect", model, *sources, "--save", KINDS, "--conf", "0.4", "--out", tmp_path / "out"]
    assert lookonce(*words).returncode == 0
    whole = written(tmp_path / "out")
    lines = whole["detections.json"].decode()
    assert (lines.count('"file"'), lines.count('"class"') > 30) == (12, True)
    for cut in cuts(lines):
        for path in (tmp_path / "out").glob("[!.]*"):
            path.unlink()
        (tmp_path / "out" / "detections.json").write_text(cut)
        assert lookonce(*words, "--resume").returncode == 0
        assert written(tmp_path / "out") == whole


def test_annotations_for_a_labeling_tool_are_those_of_a_whole_run(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(8):
        draw(number).save(tmp_path / "in" / f"{number}.png")
    save = "json,yolo,voc,cvat,labelme,labelstudio"
    words = ["detect", model, tmp_path / "in", "--save", save, "--sure", "0.7", "--out", tmp_path / "out"]
    assert lookonce(*words).returncode == 0
    whole = written(tmp_path / "out")
    assert 0 < whole["check.txt"].count(b"\n") < 8
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").mkdir()
    begun = whole["detections.json"].decode().split("\n")[:6]
    (tmp_path / "out" / "detections.json").write_text("\n".join(begun))

    assert lookonce(*words, "--resume").returncode == 0

    assert written(tmp_path / "out") == whole
