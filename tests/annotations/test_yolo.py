from pathlib import Path

import pytest

from lookonce.annotations import load_samples, open_annotations, write_samples
from lookonce.annotations.yolo_labels import LabelFiles
from lookonce.errors import AnnotationError

from .conftest import ImageMaker

ROW = "1 0.5 0.5 0.25 0.5\n"  # [30, 15, 50, 45] of 80 x 60


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def yolo(image: ImageMaker, tmp_path: Path) -> Path:
    """Make `images/{train,val}` and `labels/{train,val}`, with `classes.txt`."""
    for split in ("train", "val"):
        image(f"images/{split}/{split} é.png")
        put(tmp_path / "labels" / split / f"{split} é.txt", ROW)
    put(tmp_path / "classes.txt", "cat\ndog\n")
    return tmp_path


def test_a_folder_with_splits_is_read(yolo: Path) -> None:
    assert open_annotations(yolo).splits == ("train", "val")
    found = load_samples(yolo, "val")
    (sample,) = found.samples
    assert sample.boxes.tolist() == [[30, 15, 50, 45]]
    assert sample.labels.tolist() == [1]
    assert sample.path == yolo / "images" / "val" / "val é.png"
    assert (found.names, found.format, found.problems) == (("cat", "dog"), "yolo", [])


@pytest.mark.parametrize(
    ("images", "labels"),
    [("images", "labels"), (".", "."), ("train/images", "train/labels"), ("JPEGImages", "labels")],
)
def test_other_layouts_are_read(image: ImageMaker, tmp_path: Path, images: str, labels: str) -> None:
    image(f"{images}/a.png")
    put(tmp_path / labels / "a.txt", ROW)
    put(tmp_path / "classes.txt", "cat\ndog\n")
    root = tmp_path / "JPEGImages" if images == "JPEGImages" else tmp_path
    found = load_samples(root, "train", names=("cat", "dog"))
    assert [s.boxes.tolist() for s in found.samples] == [[[30, 15, 50, 45]]]


def test_the_last_images_folder_in_the_path_becomes_labels(tmp_path: Path) -> None:
    labels = put(tmp_path / "images" / "x" / "labels" / "a.txt", "")
    assert LabelFiles().of(tmp_path / "images" / "x" / "images" / "a.png") == labels
    assert LabelFiles().of(tmp_path / "images" / "x" / "images" / "b.png") is None


def test_an_image_without_labels_is_background(yolo: Path, image: ImageMaker) -> None:
    image("images/train/z.png")
    found = load_samples(yolo, "train")
    assert [len(s.boxes) for s in found.samples] == [1, 0]
    assert [p.outcome for p in found.problems] == ["noted"]


def test_labels_without_end(yolo: Path) -> None:
    for file in (yolo / "labels").rglob("*.txt"):
        file.unlink()
    with pytest.raises(AnnotationError, match="found none of these"):
        load_samples(yolo)
    put(yolo / "data.yaml", "names: [cat, dog]\ntrain: list.txt\n")
    put(yolo / "list.txt", "./images/train/train é.png\n")
    found = load_samples(yolo, "train")  # as one-line text: a path alone is a background image
    assert found.problems[0].what == "no object: kept as a background image"


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("1 0.5 0.5 0.25", "expected class, center x, center y, width, height as numbers"),
        ("1 0.5 0.5 0.25 0.5 0.9", "expected 5 numbers, found six"),
        ("cat 0.5 0.5 0.25 0.5", "expected class, center x"),
        ("0.5 0.5 0.5 0.25 0.5", "expected class, center x"),
        ("inf 0.5 0.5 0.25 0.5", "expected class, center x"),
        (
            "1 40 30 20 30",
            "expected fractions of the image's sides, found '1 40 30 20 30': are these pixels?",
        ),
        ("2 0.5 0.5 0.25 0.5", "expected a class number from 0 to 1, found 2"),
        ("1 0.5 0.5 0 0.5", "has no area"),
        ("1 0.5 0.5 -0.1 0.5", "inverted"),
        ("1 nan 0.5 0.1 0.5", "not made of numbers"),
        ("1 1.5 0.5 0.1 0.5", "lies outside the 60x80 image"),
    ],
)
def test_a_bad_row_is_skipped_and_its_line_named(yolo: Path, row: str, what: str) -> None:
    file = put(yolo / "labels" / "train" / "train é.txt", f"{ROW}\r\n\r\n{row}\r\n")
    found = load_samples(yolo, "train")
    assert len(found.samples[0].boxes) == 1
    (problem,) = found.problems
    assert problem.place == f"{file}:{5 if chr(13) in ROW else 4}"
    assert what in problem.what


def test_a_binary_label_file_is_skipped_and_named(yolo: Path) -> None:
    (yolo / "labels" / "train" / "train é.txt").write_bytes(b"\xff\x00")
    found = load_samples(yolo, "train")
    assert found.samples == []
    assert "expected UTF-8 text" in found.problems[0].what


def test_missing_class_names_are_asked_for(yolo: Path) -> None:
    (yolo / "classes.txt").unlink()
    with pytest.raises(AnnotationError, match=r"^names: expected the file of the class names for "):
        load_samples(yolo)
    assert load_samples(yolo, names=("cat", "dog")).names == ("cat", "dog")


def test_an_image_list_is_read_and_a_missing_image_named(yolo: Path) -> None:
    listed = put(yolo / "lists" / "train.txt", "images/train/train é.png\nimages/train/no.png\n")
    found = load_samples(listed, names=("cat", "dog"))
    assert len(found.samples) == 1
    assert [p.place for p in found.problems] == [f"{listed}:2"]
    assert "YOLO list" in found.describe()


OLD = "# comment\n#valid = old.txt\n;classes = 9\n"


def test_a_darknet_data_file_is_read(yolo: Path) -> None:
    put(yolo / "train.txt", "data/images/train/train é.png\n")
    put(yolo / "val.txt", str(yolo / "images" / "val" / "val é.png"))
    put(yolo / "obj.names", "cat\ndog\n")
    (yolo / "classes.txt").unlink()
    lists = "train = data/train.txt\nvalid = data/val.txt\n"
    file = put(yolo / "obj.data", f"{OLD}classes = 2\n{lists}names = data/obj.names\nbackup = b/\n")
    (yolo / "data").symlink_to(yolo)  # Darknet starts one folder above
    for where in (file, yolo):
        assert open_annotations(where).splits == ("train", "val")
        assert load_samples(where, "train").names == ("cat", "dog")
        assert load_samples(where, "val").samples[0].boxes.tolist() == [[30, 15, 50, 45]]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("train: x", r"obj.data:1: expected key = value, found 'train: x'"),
        ("names = obj.names", "expected train = or valid ="),
        ("train = no.txt\nnames = obj.names", "expected the list train = no.txt, found no such file"),
        ("train = l.txt\nnames = no.names\n", "expected names = with a file of class names"),
        ("train = l.txt\nnames = obj.names\nclasses = 3", r"expected 3 class names \(classes =\), found 1"),
    ],
)
def test_a_bad_data_file_is_an_error(tmp_path: Path, text: str, what: str) -> None:
    file = put(tmp_path / "obj.data", text)
    put(tmp_path / "obj.names", "cat")
    put(tmp_path / "l.txt", "")
    if "no.names" in text:
        (tmp_path / "obj.names").unlink()
    with pytest.raises(AnnotationError, match=what):
        load_samples(file)


def test_an_export_without_images_or_list_finds_its_images(
    data: Path, image: ImageMaker, tmp_path: Path
) -> None:
    found = load_samples(data / "voc_sample" / "gts" / "yolo_format")
    assert (len(found.samples), found.samples[0].path.name) == (100, "2007_001585.jpg")
    image("a.png")
    put(tmp_path / "x" / "obj_train_data" / "a.txt", ROW)
    put(tmp_path / "x" / "obj_train_data" / "b.txt", ROW)
    put(tmp_path / "x" / "obj.names", "cat\ndog\n")
    put(tmp_path / "x" / "obj.data", "train = data/train.txt\nnames = data/obj.names\n")
    found = load_samples(tmp_path / "x")
    assert [s.path.name for s in found.samples] == ["a.png"]
    elsewhere, missing = found.problems
    assert (elsewhere.place, elsewhere.kind) == (str(tmp_path), "elsewhere")
    assert "b.jpg: cannot be read: No such file or directory" in missing.what


def test_a_written_set_has_the_usual_layout(yolo: Path) -> None:
    sets = {split: load_samples(yolo, split) for split in ("train", "val")}
    where, lost = write_samples(sets, "yolo", yolo / "out")
    assert (where, lost) == (yolo / "out" / "data.yaml", [])
    assert where.read_text() == "train: train.txt\nval: val.txt\nnames:\n  0: cat\n  1: dog\n"
    assert (yolo / "out" / "train.txt").read_text() == "./images/train é.png\n"
    assert (
        (yolo / "out" / "labels" / "train é.txt").read_text().startswith("1 0.5000000000 0.5000000000 0.25")
    )
    assert (yolo / "out" / "images" / "train é.png").is_symlink()
