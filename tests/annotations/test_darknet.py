"""Test `--to darknet`: three Darknets find the labels, and lookonce reads back the same boxes."""

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from lookonce.annotations import load_samples, load_splits, write_samples
from lookonce.images import read_image, write_image
from lookonce.samples import Sample, SampleSet

NAMES = ["plain.png", "strawberry.png", "x/my images raw.jpg", "a.jpg.png", "UPPER.JPG", "long.jpeg",
         "w.webp", "b.bmp", "y/plain.png", "no objects.png", "jpegimages.png"]  # fmt: skip
BOX = np.array([[10, 20, 40, 50.5]], np.float32)


def first_replaced(path: str, *pairs: tuple[str, str]) -> str:
    for word, other in pairs:
        path = path.replace(word, other, 1)
    return path


def original(path: str) -> str:
    """Return the label path of the original Darknet, which replaces the first occurrence of some words."""
    words = [(word, "labels") for word in ("images", "JPEGImages", "raw")]
    return first_replaced(path, *words, *((end, ".txt") for end in (".jpg", ".png", ".JPG", ".JPEG")))


def alexeyab(path: str) -> str:
    """Return the label path of AlexeyAB's Darknet, which replaces COCO's and VOC's folders, and suffixes."""
    coco = [
        (f"/images/{part}/", f"/labels/{part}/") for part in ("train2017", "val2017", "train2014", "val2014")
    ]
    path = first_replaced(path, *coco, ("/JPEGImages/", "/labels/")).strip(" \t")
    return re.sub(r"\.(jpg|JPG|jpeg|JPEG|png|PNG|bmp|BMP|ppm|PPM|tiff|TIFF)$", ".txt", path)


def hank_ai(path: str) -> str:
    return f"{path.rpartition('.')[0]}.txt"


@pytest.fixture
def sets(tmp_path: Path) -> dict[str, SampleSet]:
    """Make images with difficult names, one without objects, and one that EXIF rotates."""
    random = np.random.default_rng(0)
    samples = []
    for i, name in enumerate(NAMES):
        path = tmp_path / "from" / name
        write_image(path, random.integers(0, 256, (60, 80, 3), np.uint8))
        kept = name != "no objects.png"
        samples.append(Sample(path, BOX[:kept] + i / 4, np.array([i % 2])[:kept]))
    exif = Image.Exif()
    exif[274] = 6
    turned = tmp_path / "from" / "turned.jpg"
    Image.fromarray(random.integers(0, 256, (60, 80, 3), np.uint8)).save(turned, exif=exif)
    samples.append(Sample(turned, BOX, np.array([1])))
    names = ("cat", "dog with spaces")
    return {
        "train": SampleSet(names, samples[:7], [], "drawn"),
        "val": SampleSet(names, samples[7:], [], "drawn"),
    }


@pytest.mark.parametrize("rule", [original, alexeyab, hank_ai])
def test_every_darknet_fork_finds_the_labels(
    sets: dict[str, SampleSet], tmp_path: Path, rule: Callable[[str], str]
) -> None:
    data, lost = write_samples(sets, "darknet", tmp_path / "out")

    assert (data, lost) == (tmp_path / "out" / "obj.data", [])
    settings = dict(line.replace(" ", "").split("=") for line in data.read_text().splitlines())
    assert settings == {"classes": "2", "train": "train.txt", "valid": "valid.txt", "names": "obj.names",
                        "backup": "backup"}  # fmt: skip
    assert (data.parent / "backup").is_dir()
    assert (data.parent / "obj.names").read_text() == "cat\ndog with spaces\n"
    for split, key in (("train", "train"), ("val", "valid")):
        listed = (data.parent / settings[key]).read_text().splitlines()
        assert len(set(listed)) == len(sets[split].samples)
        for path, sample in zip(listed, sets[split].samples, strict=True):
            image, labels = data.parent / path, data.parent / rule(path)
            assert image.is_file()
            assert not image.is_symlink()
            pixels = cv2.imread(str(image), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
            assert (pixels == read_image(sample.path)).all()
            rows = np.array([row.split() for row in labels.read_text().splitlines()], float).reshape(-1, 5)
            height, width = sample.image_size
            centers = (sample.boxes[:, :2] + sample.boxes[:, 2:]) / 2 / (width, height)
            sides = (sample.boxes[:, 2:] - sample.boxes[:, :2]) / (width, height)
            assert np.allclose(rows, np.column_stack([sample.labels, centers, sides]), atol=1e-6)


def test_a_written_set_reads_back(sets: dict[str, SampleSet], tmp_path: Path) -> None:
    write_samples(sets, "darknet", tmp_path / "out")

    found = load_splits(tmp_path / "out")

    assert list(found) == ["train", "val"]
    for split, each in found.items():
        assert each.names == sets[split].names
        assert {problem.kind for problem in each.problems} <= {"background"}
        for a, b in zip(each.samples, sets[split].samples, strict=True):
            assert np.allclose(a.boxes, b.boxes, rtol=0, atol=1e-3)
            assert a.labels.tolist() == b.labels.tolist()


@pytest.mark.parametrize("split", ["train", "val", "test", "all"])
def test_a_single_split_serves_as_train_and_val(
    sets: dict[str, SampleSet], tmp_path: Path, split: str
) -> None:
    data, _ = write_samples({split: sets["train"]}, "darknet", tmp_path / "out")

    for part in ("train", "val"):
        assert len(load_samples(data, part).samples) == 7


def test_train_stands_in_for_a_missing_val(sets: dict[str, SampleSet], tmp_path: Path) -> None:
    data, _ = write_samples({"train": sets["train"], "test": sets["val"]}, "darknet", tmp_path / "out")

    assert [len(load_samples(data, part).samples) for part in ("train", "val", "test")] == [7, 7, 5]


def test_an_undecodable_image_is_skipped_and_named(sets: dict[str, SampleSet], tmp_path: Path) -> None:
    """Its header is valid, so the reader keeps it, but Darknet would stop at it."""
    lost = next(iter(sets.values())).samples[0].path
    lost.write_bytes(lost.read_bytes()[:-40])
    written, problems = write_samples(sets, "darknet", tmp_path / "out")
    assert [(problem.image, problem.kind, problem.outcome) for problem in problems] == [
        (lost, "unreadable", "skipped")
    ]
    listed = [line for file in tmp_path.glob("out/*.txt") for line in file.read_text().splitlines()]
    assert len(listed) == sum(len(each.samples) for each in sets.values()) - 1
    assert load_samples(written).samples
