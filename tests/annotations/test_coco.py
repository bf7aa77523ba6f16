import json
from pathlib import Path
from typing import Any

import pytest

from lookonce.annotations import load_samples, write_samples
from lookonce.errors import AnnotationError

from .conftest import ImageMaker

CATEGORIES = [{"id": 70, "name": "dog"}, {"id": 3, "name": "cat"}]
BOX = {"id": 11, "image_id": 5, "category_id": 70, "bbox": [1, 2, 30, 40]}


def tree(*annotations: Any, images: Any = None, categories: Any = CATEGORIES) -> dict[str, Any]:
    images = [{"id": 5, "file_name": "a.png", "height": 60, "width": 80}] if images is None else images
    return {"images": images, "annotations": list(annotations), "categories": categories}


def write(tmp_path: Path, content: Any, name: str = "train.json") -> Path:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return tmp_path / name


def test_no_images_give_no_samples(tmp_path: Path) -> None:
    found = load_samples(write(tmp_path, tree(images=[])))
    assert (found.samples, found.problems, found.names) == ([], [], ("cat", "dog"))


def test_categories_ids_and_flags_are_read(image: ImageMaker, tmp_path: Path) -> None:
    image("images/a.png")
    crowd = {**BOX, "id": 12, "category_id": 3, "iscrowd": 1, "ignore": 1, "bbox": [0, 0, 5.5, 6]}
    found = load_samples(write(tmp_path, tree(BOX, crowd)))
    (sample,) = found.samples
    assert (found.names, found.category_ids, found.format) == (("cat", "dog"), (3, 70), "coco")
    assert sample.boxes.tolist() == [[1, 2, 31, 42], [0, 0, 5.5, 6]]
    assert sample.labels.tolist() == [1, 0]
    assert sample.crowd.tolist() == sample.difficult.tolist() == [False, True]
    assert (sample.image_id, sample.path) == (5, tmp_path / "images" / "a.png")
    assert found.problems == []


def test_an_image_without_annotations_is_background(image: ImageMaker, tmp_path: Path) -> None:
    image("a.png")
    found = load_samples(write(tmp_path, tree()))
    assert len(found.samples[0].boxes) == 0
    assert [p.outcome for p in found.problems] == ["noted"]


@pytest.mark.parametrize(
    ("annotation", "place", "what"),
    [
        ("text", "annotations[1]", "expected an annotation, found 'text'"),
        ({**BOX, "image_id": 6}, "annotation 11", "expected the id of an image, found 6"),
        ({**BOX, "image_id": [5]}, "annotation 11", "expected the id of an image, found [5]"),
        ({**BOX, "category_id": 4}, "annotation 11", "expected the id of a category, found 4"),
        ({**BOX, "category_id": None}, "annotation 11", "expected the id of a category, found None"),
        (
            {**BOX, "bbox": [1, 2, 3]},
            "annotation 11",
            "expected bbox [left, top, width, height], found [1, 2, 3]",
        ),
        ({**BOX, "bbox": None}, "annotation 11", "found None"),
        ({**BOX, "bbox": ["a"] * 100}, "annotation 11", "'a', 'a',..."),
        ({"image_id": 5, "category_id": 70}, "annotation [1]", "expected bbox"),
        ({**BOX, "bbox": [1, 2, float("nan"), 4]}, "annotation 11", "not made of numbers"),
        ({**BOX, "bbox": [1, 2, -3, 4]}, "annotation 11", "inverted"),
        ({**BOX, "bbox": [1, 2, 0, 4]}, "annotation 11", "no area"),
    ],
)
def test_a_bad_annotation_is_skipped_and_named(
    image: ImageMaker, tmp_path: Path, annotation: Any, place: str, what: str
) -> None:
    image("a.png")
    file = write(tmp_path, tree(BOX, annotation))
    found = load_samples(file)
    assert len(found.samples[0].boxes) == 1
    (problem,) = found.problems
    assert problem.place == f"{file}: {place}"
    assert what in problem.what
    with pytest.raises(AnnotationError):
        load_samples(file, strict=True)


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ("text", "expected id and file_name"),
        ({"id": 9}, "expected id and file_name"),
        ({"id": 9, "file_name": ""}, "expected id and file_name"),
        ({"id": None, "file_name": "b.png"}, "expected id and file_name"),
    ],
)
def test_a_bad_image_entry_is_skipped_and_named(
    image: ImageMaker, tmp_path: Path, entry: Any, what: str
) -> None:
    image("a.png")
    file = write(tmp_path, tree(BOX, images=[{"id": 5, "file_name": "a.png"}, entry]))
    found = load_samples(file)
    assert len(found.samples) == 1
    assert [p.place for p in found.problems] == [f"{file}: images[1]"]
    assert what in found.problems[0].what


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "not JSON, or cut short"),
        ('{"images": [{"id": 5, "file_na', "not JSON, or cut short"),
        ("[" * 100_000, "not JSON, or cut short"),
        ("[]", "expected COCO with a list 'images', found none"),
        ('{"images": [], "annotations": {}}', "expected COCO with a list 'annotations', found none"),
        (tree(categories=[{"id": None, "name": "cat"}]), "expected categories with id and name"),
        (tree(categories=["cat"]), "expected categories with id and name"),
        (tree(categories=[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]), "found the id 1 for 'a' and 'b'"),
    ],
)
def test_an_unusable_file_is_an_error(tmp_path: Path, content: Any, what: str) -> None:
    with pytest.raises(AnnotationError, match=what) as caught:
        load_samples(write(tmp_path, content))
    assert "train.json" in str(caught.value)


def test_given_names_decide_the_order(image: ImageMaker, tmp_path: Path) -> None:
    image("a.png")
    file = write(tmp_path, tree(BOX, {**BOX, "id": 12, "category_id": 3}))
    found = load_samples(file, names=("dog", "cat"))
    assert (found.samples[0].labels.tolist(), found.category_ids) == ([0, 1], (70, 3))
    fewer = load_samples(file, names=("dog", "cow"))
    assert (fewer.samples[0].labels.tolist(), fewer.category_ids) == ([0], ())
    assert [str(p) for p in fewer.problems] == [
        f"{file}: annotation 12: the class 'cat' is not among the names"
    ]


def test_the_official_layout_is_found(image: ImageMaker, tmp_path: Path) -> None:
    image("train2017/a.png")
    for name in ("instances_train2017", "captions_train2017", "person_keypoints_train2017"):
        write(tmp_path, tree(BOX), f"annotations/{name}.json")
    found = load_samples(tmp_path, "train")
    assert found.samples[0].path == tmp_path / "train2017" / "a.png"
    assert "instances_train2017.json" in found.describe()


def test_an_export_with_a_folder_per_split_opens(image: ImageMaker, tmp_path: Path) -> None:
    for split in ("train", "valid"):
        image(f"{split}/a.png")
        write(tmp_path, tree(BOX), f"{split}/_annotations.coco.json")
    assert load_samples(tmp_path, "val").samples[0].path == tmp_path / "valid" / "a.png"


def test_two_files_for_one_split_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, tree(), "train_a.json")
    write(tmp_path, tree(), "train_b.json")
    with pytest.raises(AnnotationError, match=r"split train, found .*train_a.json and .*train_b.json"):
        load_samples(tmp_path)


def test_unrelated_json_is_ignored(image: ImageMaker, tmp_path: Path) -> None:
    image("a.png")
    write(tmp_path, tree(BOX), "val.json")
    write(tmp_path, {"epochs": 3}, "settings_val.json")
    assert len(load_samples(tmp_path, "val").samples) == 1


def test_a_folder_named_like_a_coco_file_is_ignored(image: ImageMaker, tmp_path: Path) -> None:
    (tmp_path / "train.json").mkdir()
    image("images/a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.2")
    assert load_samples(tmp_path, names=("cat",)).format == "yolo"


def test_both_coco_dialects_and_split_files_are_read(data: Path) -> None:
    gts = data / "voc_sample" / "gts"
    one = load_samples(gts / "coco_format_v1" / "instances_default.json")
    two = load_samples(gts / "coco_format_v2")
    assert (one.names[:2], two.names[:2]) == (("person", "cat"), ("person", "aeroplane"))
    assert (one.samples[0].image_id, two.samples[0].image_id) == (1, 20180000001)
    assert len(load_samples(data / "voc_sample", "val").samples) == 20


def test_image_and_category_ids_survive_a_round_trip(image: ImageMaker, tmp_path: Path) -> None:
    image("a.png")
    found = load_samples(write(tmp_path, tree({**BOX, "iscrowd": 1}, {**BOX, "ignore": 1})))
    where, lost = write_samples({"val": found}, "coco", tmp_path / "out")
    assert lost == []
    written = json.loads((where / "val.json").read_text())
    assert written == {
        "images": [{"id": 5, "file_name": "../a.png", "width": 80, "height": 60}],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 70, "bbox": [1, 2, 30, 40], "area": 1200, "iscrowd": 1},
            {"id": 2, "image_id": 5, "category_id": 70, "bbox": [1, 2, 30, 40], "area": 1200, "iscrowd": 0,
             "ignore": 1},
        ],
        "categories": [{"id": 3, "name": "cat"}, {"id": 70, "name": "dog"}],
    }  # fmt: skip


def test_pycocotools_reads_what_is_written(data: Path, tmp_path: Path) -> None:
    """pycocotools, the format's own reader, finds the original boxes."""
    from pycocotools.coco import COCO

    found = load_samples(data / "voc_sample" / "gts" / "pascalvoc_format")
    write_samples({"all": found}, "coco", tmp_path / "out")
    read = COCO(str(tmp_path / "out" / "all.json"))
    assert len(read.getAnnIds()) == 273
    first = read.loadAnns(read.getAnnIds(imgIds=[1]))[0]
    left, top, right, bottom = found.samples[0].boxes[0].tolist()
    assert first["bbox"] == [left, top, right - left, bottom - top]
    assert read.loadCats([first["category_id"]])[0]["name"] == found.names[found.samples[0].labels[0]]
