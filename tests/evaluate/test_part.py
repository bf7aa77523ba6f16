"""Test which images of a data set a model is evaluated on, in every format."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookonce.annotations import open_annotations, write_samples
from lookonce.annotations.recognize import load_samples
from lookonce.errors import AnnotationError
from lookonce.evaluate.part import choose_part
from lookonce.seen import Seen, fingerprints


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Write six images as one-line text, without splits."""
    folder = tmp_path / "lines"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(6):
        Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8)).save(folder / f"{i}.png")
    (folder / "lines.txt").write_text("".join(f"{i}.png 10,10,50,40,0\n" for i in range(6)))
    (folder / "names.txt").write_text("cat\n")
    return folder


@pytest.fixture
def seen(images: Path) -> Seen:
    """Record images 0 to 3 as trained on and 4 as held out; 5 is new."""
    prints = [each for _, each in sorted(fingerprints(sorted(images.glob("*.png"))).items())]
    return Seen(frozenset(prints[:4]), frozenset(prints[4:5]))


def converted(images: Path, to: str, split: str | None = None) -> Path:
    found = load_samples(images / "lines.txt", None, images / "names.txt")
    out = images.parent / to
    write_samples({split or "train": found}, to, out)
    return out


@pytest.mark.parametrize("to", ["lines", "voc", "coco", "yolo", "labelme"])
def test_the_held_out_images_of_any_format_are_the_default(images: Path, seen: Seen, to: str) -> None:
    folder = images if to == "lines" else converted(images, to)
    annotations = open_annotations(folder / "lines.txt" if to == "lines" else folder)
    part = choose_part(annotations, None, seen, ("cat",))
    assert (part.name, len(part.found.samples), part.learned, part.validated) == ("held-out", 1, 0, 1)
    assert part.warning() == ""


def test_images_the_model_has_seen_are_counted(images: Path, seen: Seen) -> None:
    annotations = open_annotations(images / "lines.txt")
    part = choose_part(annotations, "all", seen, ("cat",))
    assert (part.learned, part.validated) == (4, 1)
    assert (
        part.warning() == "warning: the model has learned from 4 of the 6 images: the results are optimistic"
    )


def test_without_a_record_all_images_are_measured_without_a_warning(images: Path) -> None:
    part = choose_part(open_annotations(images / "lines.txt"), None, Seen(), ("cat",))
    assert (part.name, len(part.found.samples), part.learned, part.validated) == ("all", 6, None, None)
    assert part.warning() == ""


def test_other_data_is_measured_whole(images: Path) -> None:
    foreign = Seen(frozenset({b"aaaaaa"}), frozenset({b"bbbbbb"}))
    annotations = open_annotations(images / "lines.txt")
    assert choose_part(annotations, None, foreign, ("cat",)).learned == 0
    with pytest.raises(AnnotationError, match="no image that the training held out"):
        choose_part(annotations, "held-out", foreign, ("cat",))


def test_val_is_the_default_and_an_unknown_split_lists_the_known_ones(images: Path, seen: Seen) -> None:
    annotations = open_annotations(converted(images, "coco", "val"))
    part = choose_part(annotations, None, seen)
    assert (part.name, part.learned) == ("val", 4)
    with pytest.raises(AnnotationError, match=r"expected one of val, held-out, all, found no split test"):
        choose_part(annotations, "test", seen)
    lines = open_annotations(images / "lines.txt")
    with pytest.raises(AnnotationError, match=r"expected one of held-out, all, found no split val"):
        choose_part(lines, "val", seen, ("cat",))


def test_a_model_that_has_seen_every_image_gets_a_warning(images: Path) -> None:
    prints = frozenset(fingerprints(sorted(images.glob("*.png"))).values())
    part = choose_part(open_annotations(images / "lines.txt"), None, Seen(prints), ("cat",))
    assert part.warning() == "warning: the model has learned from the 6 images: the results are optimistic"
