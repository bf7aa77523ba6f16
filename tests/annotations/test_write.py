import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lookonce.annotations import load_samples, load_splits, write_samples
from lookonce.annotations.files import key
from lookonce.annotations.write import WRITERS
from lookonce.errors import AnnotationError
from lookonce.geometry.boxes import is_empty
from lookonce.images import write_image
from lookonce.samples import Sample, SampleSet

from .conftest import ImageMaker

FORMS = sorted(WRITERS.keys() - {"darknet"})  # which copies images: see test_darknet
CHAIN = [(a, b) for a, more in pairwise([*FORMS, *FORMS[:1]]) for b in dict.fromkeys(("voc", more, a))]
FLAGGED = ("coco", "voc")  # can say that an object is difficult


def same(a: SampleSet, b: SampleSet, tolerance: float = 1e-3) -> bool:
    """Return whether two sets have the same images, boxes and classes in the same order."""
    return (
        a.names == b.names
        and len(a.samples) == len(b.samples)
        and all(
            x.path.resolve() == y.path.resolve()
            and x.labels.tolist() == y.labels.tolist()
            and np.allclose(x.boxes, y.boxes, rtol=0, atol=tolerance)
            for x, y in zip(a.samples, b.samples, strict=True)
        )
    )


@pytest.fixture(scope="module")
def converted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Convert the VOC sample to each format."""
    sets = {"val": load_samples(data / "voc_sample" / "gts" / "pascalvoc_format")}
    folder = tmp_path_factory.mktemp("converted")
    return {form: write_samples(sets, form, folder / form)[0] for form in FORMS}


@pytest.mark.parametrize(("source", "target"), CHAIN)
def test_any_format_converts_to_any_format(
    data: Path, tmp_path: Path, converted: dict[str, Path], source: str, target: str
) -> None:
    truth = load_samples(data / "voc_sample" / "gts" / "pascalvoc_format")
    sets = load_splits(converted[source])
    assert {found.format for found in sets.values()} == {source}
    where, lost = write_samples(sets, target, tmp_path / "out")
    found = load_samples(where, "val")
    assert found.format == target
    assert found.problems == []
    assert same(found, truth, tolerance=0)
    difficult = [sample.path.name for sample in truth.samples if sample.difficult.any()]
    known, kept = source in FLAGGED, source in FLAGGED and target in FLAGGED
    assert [s.path.name for s in found.samples if s.difficult.any()] == (difficult if kept else [])
    assert len(lost) == (len(difficult) if known and not kept else 0)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(boxes=st.lists(st.tuples(*[st.floats(0, 60, width=32)] * 4), max_size=5), seed=st.integers(0, 99))
def test_any_box_survives_any_format(
    image: ImageMaker, tmp_path_factory: pytest.TempPathFactory, boxes: list[tuple[float, ...]], seed: int
) -> None:
    """Boxes are equal to a thousandth of a pixel, which is the precision of the files."""
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    corners = corners[~is_empty(corners.round(2))]
    labels = np.random.default_rng(seed).integers(0, 2, len(corners))
    sample = Sample(image("images/a.png"), corners, labels, size=(60, 80))
    full = Sample(image("images/b.png"), np.array([[0, 0, 80, 60]], np.float32), np.array([1]), size=(60, 80))
    sets = {"train": SampleSet(("cat", "dog with spaces"), [sample, full], [], "lines")}
    for form in FORMS:
        where, _ = write_samples(sets, form, tmp_path_factory.mktemp("x") / "out")
        assert same(load_samples(where, "train"), sets["train"])


PRINTABLE = st.characters(exclude_categories=("Cc", "Cs", "Cn", "Co"), exclude_characters="/")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stems=st.lists(st.text(PRINTABLE, min_size=1, max_size=12), min_size=2, max_size=4, unique_by=key),
       ending=st.sampled_from([".png", ".jpg (1).png", " 1,2,3,4,0.png", " 1.png", ".jpg.PNG"]))  # fmt: skip
@example(stems=["a", "a.jpg 1,2,3,4,0"], ending=".png")
@example(stems=["IMG.jpg (1)", "~", "train"], ending=".png")
@example(stems=["#a", "'b", '"c"', "d ", "%20", "e?f", "C:"], ending=".png")
def test_any_name_survives_any_format(
    tmp_path_factory: pytest.TempPathFactory, stems: list[str], ending: str
) -> None:
    folder = tmp_path_factory.mktemp("names")
    blank = tmp_path_factory.mktemp("blank") / "x.png"
    write_image(blank, np.zeros((60, 80, 3), np.uint8))
    names = [stem + ending for stem in stems if stem.strip() and not stem.startswith(".")]
    for name in names:
        shutil.copyfile(blank, folder / name)
    samples = [
        Sample(folder / name, np.array([[i, 2, 30, 40]], np.float32), np.array([0]), size=(60, 80))
        for i, name in enumerate(names)
    ]
    sets = {"train": SampleSet(("cat", "dog"), samples, [], "lines")}
    for form in FORMS:
        where, lost = write_samples(sets, form, folder / "out" / form)
        found = load_samples(where, "train")
        assert lost == []
        assert found.problems == []
        assert {sample.path.resolve().name: sample.boxes[0, 0] for sample in found.samples} == {
            sample.path.name: sample.boxes[0, 0] for sample in samples
        }


def test_a_real_set_keeps_all_its_splits(data: Path, tmp_path: Path) -> None:
    sets = load_splits(data / "bccd")
    for form in ("coco", "lines"):
        where, lost = write_samples(sets, form, tmp_path / form)
        assert lost == []
        again = load_splits(where)
        assert list(again) == list(sets)
        assert all(same(again[split], sets[split], tolerance=0) for split in sets)


def flagged(image: ImageMaker) -> SampleSet:
    boxes = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)
    labels, yes, no = np.array([0, 0]), np.array([True, True]), np.array([False, True])
    return SampleSet(
        ("cat",),
        [
            Sample(image("all.png"), boxes, labels, crowd=yes, size=(60, 80)),
            Sample(image("one.png"), boxes, labels, crowd=no, size=(60, 80)),
            Sample(image("hard.png"), boxes, labels, difficult=no, size=(60, 80)),
        ],
        [],
        "coco",
    )


@pytest.mark.parametrize(
    ("form", "kept", "lost"),
    [
        ("coco", [2, 2, 2], []),
        ("voc", [1, 2], ["2 crowd boxes are dropped", "1 crowd boxes are dropped"]),
        ("yolo", [1, 2], ["2 crowd boxes", "1 crowd boxes", "1 difficult objects lose their flag"]),
        ("lines", [1, 2], ["2 crowd boxes", "1 crowd boxes", "1 difficult objects lose their flag"]),
    ],
)
def test_what_a_format_cannot_store_is_reported(
    image: ImageMaker, tmp_path: Path, form: str, kept: list[int], lost: list[str]
) -> None:
    sets = {"train": flagged(image)}
    where, problems = write_samples(sets, form, tmp_path / "out")
    found = load_samples(where, "train")
    assert [len(s.boxes) for s in found.samples] == kept
    assert len(problems) == len(lost)
    assert all(problem.what.startswith(what) for problem, what in zip(problems, lost, strict=True))
    assert found.samples[-1].difficult.tolist() == [False, form in ("coco", "voc")]


@pytest.mark.parametrize("stem", ["a", "a" * 251], ids=["short", "as long as a system allows"])
@pytest.mark.parametrize("form", ["voc", "yolo", "cvat", "labelme", "labelstudio"])
def test_images_of_the_same_name_stay_separate(
    image: ImageMaker, tmp_path: Path, form: str, stem: str
) -> None:
    paths = [
        image(f"{folder}/{stem}.{suffix}") for folder, suffix in (("x", "png"), ("y", "png"), ("y", "jpg"))
    ]
    box, label = np.array([[1, 2, 3, 4]], np.float32), np.array([0])
    sets = {
        "train": SampleSet(
            ("cat",), [Sample(path, box * i, label) for i, path in enumerate(paths, 1)], [], ""
        )
    }
    where, _ = write_samples(sets, form, tmp_path / "out")
    assert same(load_samples(where, "train"), sets["train"])


def test_voc_refuses_one_image_with_different_boxes_per_split(image: ImageMaker, tmp_path: Path) -> None:
    box, label, path = np.array([[1, 2, 3, 4]], np.float32), np.array([0]), image("a.png")
    sets = {
        split: SampleSet(("cat",), [Sample(path, box * n, label)], [], "")
        for n, split in ((1, "train"), (2, "val"))
    }
    with pytest.raises(AnnotationError, match="the same boxes in every split, found different ones"):
        write_samples(sets, "voc", tmp_path / "voc")
    write_samples(sets, "coco", tmp_path / "coco")


def test_splits_with_different_classes_are_refused(tmp_path: Path) -> None:
    sets = {name: SampleSet((name,), [], [], "") for name in ("train", "val")}
    with pytest.raises(AnnotationError, match="expected splits with the same class names"):
        write_samples(sets, "coco", tmp_path / "out")


def test_an_unknown_format_and_a_folder_in_use_are_refused(tmp_path: Path) -> None:
    sets = {"train": SampleSet(("cat",), [], [], "coco")}
    with pytest.raises(AnnotationError, match=r"form: expected one of coco, voc, yolo, .*, found 'kitti'"):
        write_samples(sets, "kitti", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(AnnotationError, match="expected a new or empty folder, found files"):
        write_samples(sets, "coco", tmp_path / "full")
    with pytest.raises(AnnotationError, match="cannot be written: "):
        write_samples(sets, "coco", tmp_path / "full" / "mine.txt" / "out")


def test_a_full_disk_leaves_no_partial_file(
    image: ImageMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    sets = {"train": flagged(image)}
    monkeypatch.setattr("os.fsync", fail)
    for form in FORMS:
        with pytest.raises(AnnotationError, match="No space left on device"):
            write_samples(sets, form, tmp_path / form)
        assert [p.name for p in (tmp_path / form).rglob("*") if p.is_file() and not p.is_symlink()] == []


def test_images_are_copied_where_links_are_not_allowed(
    image: ImageMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no right")

    sets = {"train": flagged(image)}
    monkeypatch.setattr(Path, "symlink_to", refuse)
    write_samples(sets, "yolo", tmp_path / "out")
    copied = tmp_path / "out" / "images" / "one.png"
    assert not copied.is_symlink()
    assert copied.read_bytes() == sets["train"].samples[1].path.read_bytes()


def test_names_with_a_line_break_are_reported(image: ImageMaker, tmp_path: Path) -> None:
    box, label = np.array([[1, 2, 3, 4]], np.float32), np.array([0])
    samples = [Sample(image(name), box, label, size=(60, 80)) for name in ("a\nb.png", "c.png")]
    sets = {"train": SampleSet(("cat",), samples, [], "voc")}
    for form in FORMS:
        where, lost = write_samples(sets, form, tmp_path / form)
        assert len(load_samples(where, "train").samples) == 2 - len(lost)
        assert [problem.what for problem in lost] == (
            [] if form == "coco" else [f"{form} cannot store a line break in a name"]
        )


def test_names_that_are_not_unicode_are_refused(tmp_path: Path) -> None:
    sample = Sample(
        tmp_path / "caf\udce9.png", np.zeros((0, 4), np.float32), np.zeros(0, np.int64), size=(1, 1)
    )
    _, lost = write_samples({"train": SampleSet(("cat",), [sample], [], "")}, "lines", tmp_path / "out")
    assert [problem.what for problem in lost] == [
        "lines cannot store a name that is not Unicode, or has control characters"
    ]
    with pytest.raises(AnnotationError, match="expected class names without control characters"):
        write_samples({"train": SampleSet(("c\udce9",), [], [], "")}, "yolo", tmp_path / "out 2")
