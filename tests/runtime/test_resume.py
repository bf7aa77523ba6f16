"""A run that is cut off and resumed leaves the files of one that was not."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from lookonce.tiff import tiff_pages
from tests.command_line import lookonce
from tests.tiny_onnx import MAGENTA, YELLOW, write_tiny_model
from tests.videos import write_video

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
    (tmp_path / "top" / "a.tif#2").touch()  # not a source, although a page has this name
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


def test_resuming_after_any_cut_gives_the_files_of_a_whole_run(
    model: Path, sources: list[Path], tmp_path: Path
) -> None:
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


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A folder with damaged files in the middle: a page of a TIFF, and videos with and without an index."""
    folder = tmp_path / "damaged"
    folder.mkdir()
    for number, name in enumerate(("a.png", "c.png", "e.png", "g.png")):
        draw(number).save(folder / name)
    stack = folder / "b.tif"
    pages(stack, 6, 3)
    with stack.open("r+b") as stream:
        stream.seek(tiff_pages(stack)[1] + 2 + 8)  # the value of the first tag, the width
        stream.write(bytes(4))
    frames = [np.asarray(draw(20 + number).resize((96, 64))) for number in range(10)]
    for name, codec in (("d.avi", "MJPG"), ("f.webm", "VP80")):
        clip = write_video(folder / name, frames, 10.0, codec)
        clip.write_bytes(clip.read_bytes()[: clip.stat().st_size * 2 // 3])
    return folder


def test_damaged_files_keep_their_places_and_are_named_again(
    model: Path, damaged: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ["detect", model, damaged, "--save", KINDS, "--conf", "0.4", "--out", out]
    ran = lookonce(*words)
    problems = [line for line in ran.stderr.split("\n") if line.startswith("skipped: ")]
    assert [ran.returncode, len(problems)] == [1, 3]
    whole = written(out)
    lines = whole["detections.json"].decode()
    assert all(name in lines for name in ("b.tif#1", "b.tif#3", "d.avi", "f.webm"))
    head, *records = lines.split("\n")
    shuffled = [head, *sorted(records[:-3], reverse=True), *records[-3:]]  # what earlier versions left
    for cut in [*cuts(lines), "\n".join(shuffled)]:
        for path in out.glob("[!.]*"):
            path.unlink()
        (out / "detections.json").write_text(cut)

        again = lookonce(*words, "--resume")

        assert again.returncode == 1
        assert [line for line in again.stderr.split("\n") if line.startswith("skipped: ")] == problems
        assert written(out) == whole


def test_deep_images_are_scaled_as_in_a_whole_run(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(1, 5):
        deep = np.full((64, 96, 3), 16_000 if number < 3 else 1_000, np.uint16)
        deep[:, ::2, 1] = 0
        cv2.imwrite(str(tmp_path / "in" / f"{number}.png"), deep)
    words = ["detect", model, tmp_path / "in", "--save", KINDS, "--conf", "0.01", "--out", tmp_path / "out"]
    assert lookonce(*words).returncode == 0
    whole = written(tmp_path / "out")
    assert whole["detections.json"].count(b'"class"') > 3
    begun = whole["detections.json"].decode().split("\n")
    del begun[3:]  # the remaining images have 10 bits
    (tmp_path / "out" / "detections.json").write_text("\n".join(begun))
    ran = lookonce(*words, "--resume")
    assert "2 images of them kept" in ran.stdout
    assert written(tmp_path / "out") == whole


def test_added_deep_images_are_scaled_as_the_others_were(model: Path, tmp_path: Path) -> None:
    """The first two images have 10 bits, and the third, which is added, has 14."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for number, value in enumerate((1_000, 900)):
        deep = np.full((64, 96, 3), value, np.uint16)
        deep[:, ::2, 1] = 0
        cv2.imwrite(str(folder / f"{number}.png"), deep)
    words = ["detect", model, folder, "--save", "json", "--conf", "0.01", "--out"]
    assert lookonce(*words, tmp_path / "both").returncode == 0
    second = (folder / "1.png").rename(tmp_path / "1.png")
    assert lookonce(*words, out).returncode == 0
    second.rename(folder / "1.png")
    cv2.imwrite(str(folder / "2.png"), np.full((64, 96, 3), 16_000, np.uint16))

    ran = lookonce(*words, out, "--resume")

    assert "images of more than 8 bits: 0 to 1023 become 0 to 255, as before" in ran.stderr
    lines, both = ((each / "detections.json").read_text().splitlines() for each in (out, tmp_path / "both"))
    assert lines[1:3] == [f"{line.removesuffix(',')}," for line in both[1:3]]
    assert '"values": [0.0, 1023.0]' in lines[0]


def test_resuming_gives_the_annotations_of_a_whole_run(model: Path, tmp_path: Path) -> None:
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
    begun = whole["detections.json"].decode().split("\n")[:7]
    del begun[3]  # in the middle, as if this image were new
    (tmp_path / "out" / "detections.json").write_text("\n".join(begun))

    assert lookonce(*words, "--resume").returncode == 0

    assert written(tmp_path / "out") == whole
