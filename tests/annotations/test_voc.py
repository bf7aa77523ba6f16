from collections import Counter
from pathlib import Path

import pytest

from lookonce.annotations import load_samples, open_annotations, write_samples
from lookonce.errors import AnnotationError

from .conftest import ImageMaker

SIZE = "<size><width>80</width><height>60</height><depth>3</depth></size>"


def obj(name: str = "cat", box: object = (1, 2, 30, 40), extra: str = "") -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)  # type: ignore[call-overload]
    corners = "".join(f"<{tag}>{side}</{tag}>" for tag, side in sides)
    return f"<object><name>{name}</name>{extra}<bndbox>{corners}</bndbox></object>"


def write(folder: Path, stem: str, body: str, head: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{stem}.xml"
    file.write_text(f"{head}<annotation><filename>{stem}.png</filename>{body}</annotation>")
    return file


@pytest.fixture
def voc(image: ImageMaker, tmp_path: Path) -> Path:
    """Make a folder with two images, each in its own list."""
    for stem, split in (("a", "train"), ("b", "test")):
        image(f"JPEGImages/{stem}.png")
        write(tmp_path / "Annotations", stem, SIZE + obj("cat" if stem == "a" else "ape"))
        (tmp_path / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
        (tmp_path / "ImageSets" / "Main" / f"{split}.txt").write_text(f"{stem}\n")
    return tmp_path


def test_splits_and_flags_are_read(voc: Path) -> None:
    parts = "<part><name>head</name><bndbox><xmin>0</xmin></bndbox></part>"
    flagged = obj("cat", (5.5, 6, 7, 8), "<difficult>1</difficult>" + parts)
    write(voc / "Annotations", "a", SIZE + obj() + flagged)
    found = load_samples(voc, "train")
    (sample,) = found.samples
    assert sample.boxes.tolist() == [[1, 2, 30, 40], [5.5, 6, 7, 8]]
    assert sample.difficult.tolist() == [False, True]
    assert sample.path == voc / "JPEGImages" / "a.png"
    assert (found.problems, found.format) == ([], "voc")


def test_every_split_has_the_same_class_numbers(voc: Path) -> None:
    assert load_samples(voc, "train").names == load_samples(voc, "test").names == ("ape", "cat")
    assert load_samples(voc, "train").samples[0].labels.tolist() == [1]
    assert load_samples(voc, "train", names=("cat", "dog")).samples[0].labels.tolist() == [0]


def test_an_unknown_class_is_skipped_and_named(voc: Path) -> None:
    write(voc / "Annotations", "a", SIZE + obj("cat") + obj("dgo"))
    found = load_samples(voc, "train", names=("cat", "dog"))
    assert [str(p) for p in found.problems] == [
        f"{voc}/Annotations/a.xml: object 2: the class 'dgo' is not among the names"
    ]


def test_a_name_with_only_empty_boxes_is_not_a_class(voc: Path) -> None:
    write(voc / "Annotations", "a", SIZE + obj() + obj("garbage", (5, 5, 5, 5)))
    assert load_samples(voc, "train").names == ("ape", "cat")


@pytest.mark.parametrize("box", [("", 2, 3, 4), ("x", 2, 3, 4), ("1,5", 2, 3, 4)])
def test_a_box_without_four_numbers_is_skipped_and_named(voc: Path, box: tuple[object, ...]) -> None:
    write(voc / "Annotations", "a", SIZE + obj() + obj("cat", box))
    found = load_samples(voc, "train")
    assert len(found.samples[0].boxes) == 1
    assert [p.place for p in found.problems] == [f"{voc}/Annotations/a.xml: object 2"]
    assert "expected a bndbox of four numbers" in found.problems[0].what


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "expected XML, found it damaged or cut short"),
        ("<annotation><object><name>cat", "expected XML, found it damaged or cut short"),
        ("<annotations/>", "expected <annotation>, found <annotations>"),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', "expected XML"),
        (
            '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><annotation>&b;</annotation>',
            "refused: XML that defines or fetches entities",
        ),
        (
            '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotation>&a;</annotation>',
            "refused: XML that defines or fetches entities",
        ),
    ],
)
def test_damaged_and_hostile_xml_is_skipped_and_named(voc: Path, text: str, what: str) -> None:
    (voc / "Annotations" / "a.xml").write_text(text)
    found = load_samples(voc, "train")
    assert found.samples == []
    assert [p.place.removesuffix(":1") for p in found.problems] == [f"{voc}/Annotations/a.xml"]
    assert what in found.problems[0].what
    assert len(load_samples(voc, "test").samples) == 1
    with pytest.raises(AnnotationError, match=r"a\.xml"):
        load_samples(voc, "train", strict=True)


@pytest.mark.parametrize("size", ["", "<size/>", "<size><width>x</width><height>60</height></size>"])
def test_a_missing_size_is_not_a_problem(voc: Path, size: str) -> None:
    write(voc / "Annotations", "a", size + obj())
    found = load_samples(voc, "train")
    assert (found.samples[0].size, found.problems) == ((60, 80), [])


def test_an_image_list_with_flags_and_duplicates_is_read(voc: Path, image: ImageMaker) -> None:
    image("JPEGImages/a 1.png")
    write(voc / "Annotations", "a 1", SIZE + obj())
    listed = voc / "ImageSets" / "Main" / "cat_train.txt"
    listed.write_text("a  1\r\nb -1\r\na 1\r\nc\r\na\r\n")
    found = load_samples(listed)
    assert [s.path.stem for s in found.samples] == ["a", "b", "a 1"]
    assert [str(p) for p in found.problems] == [
        f"{listed}:4: c.xml cannot be read: No such file or directory; did you mean {voc}/Annotations/b.xml?",
        f"{listed}:5: a.png is listed again; the entry at {listed}:1 is used",
    ]


def test_the_xml_names_the_image_if_the_stems_differ(voc: Path, image: ImageMaker) -> None:
    image("JPEGImages/other.png")
    file = write(voc / "Annotations", "c", SIZE + obj())
    file.write_text(file.read_text().replace("c.png", "folder/other.png"))
    (voc / "ImageSets" / "Main" / "train.txt").write_text("c\n")
    assert load_samples(voc, "train").samples[0].path.name == "other.png"


def test_a_folder_without_splits_is_read(image: ImageMaker, tmp_path: Path) -> None:
    image("a.png")
    write(tmp_path, "a", SIZE + obj())
    assert open_annotations(tmp_path).splits == ()
    assert len(load_samples(tmp_path, "val").samples) == 1


def test_a_set_without_objects_needs_class_names(image: ImageMaker, tmp_path: Path) -> None:
    image("a.png")
    write(tmp_path, "a", SIZE)
    with pytest.raises(AnnotationError, match="expected objects with a box, found none"):
        load_samples(tmp_path)
    assert len(load_samples(tmp_path, names=("cat",)).samples) == 1


def test_train_falls_back_to_trainval_and_says_so(voc: Path) -> None:
    lists = voc / "ImageSets" / "Main"
    (lists / "train.txt").rename(lists / "trainval.txt")
    found = load_samples(voc, "train")
    assert "split trainval, since there is no train" in found.describe()
    with pytest.raises(AnnotationError, match="expected a split val, found trainval, test"):
        load_samples(voc, "val")


def test_heads_has_its_known_defects(data: Path) -> None:
    heads = data / "heads"
    found = load_samples(heads)
    assert (len(found.samples), sum(len(s.boxes) for s in found.samples)) == (660, 13_017)
    kinds = Counter((p.outcome, p.what.split("]")[-1].split(",")[0].strip()) for p in found.problems)
    assert kinds == {
        ("repaired", "declares 0x0"): 16,
        ("noted", "declares 1 channel(s); every image is read in color"): 8,
        ("noted", "no object: kept as a background image"): 1,
        ("skipped", "has no area"): 2,
    }
    assert len({p.place for p in found.problems}) == 27
    places = {p.what: p.place for p in found.problems}
    assert places["no object: kept as a background image"] == f"{heads}/Annotations/PartA_00595.xml"
    assert places["[958, 231, 958, 231] has no area"] == f"{heads}/Annotations/PartA_01002.xml: object 60"
    assert all(s.size and s.size[0] > 0 for s in found.samples)


def test_bccd_has_its_known_defects(data: Path) -> None:
    bccd = data / "bccd"
    found = load_samples(bccd)
    assert (len(found.samples), sum(len(s.boxes) for s in found.samples)) == (364, 4_886)
    assert sorted(str(p) for p in found.problems) == [
        f"{bccd}/Annotations/BloodImage_00338.xml: object 13: [504, 337, 504, 337] has no area",
        f"{bccd}/Annotations/BloodImage_00343.xml: object 4: [181, 329, 181, 329] has no area",
    ]
    assert open_annotations(bccd).splits == ("train", "val", "trainval", "test")
    assert [len(load_samples(bccd, split).samples) for split in ("trainval", "test")] == [292, 72]


def test_written_xml_has_the_official_tags(data: Path, tmp_path: Path) -> None:
    """OpenCV users and VOC's own tools expect these tags and integers."""
    found = load_samples(data / "voc_sample", "val")
    out, _ = write_samples({"val": found}, "voc", tmp_path / "out")
    text = (out / "Annotations" / "2007_000042.xml").read_text()
    assert "<filename>2007_000042.jpg</filename>" in text
    assert "<xmin>263</xmin>" in text
    assert "<depth>3</depth>" in text
    assert (out / "JPEGImages" / "2007_000042.jpg").read_bytes() == found.samples[0].path.read_bytes()
    assert (out / "ImageSets" / "Main" / "val.txt").read_text().splitlines()[0] == "2007_000042"
