"""Test `classes:`, `ignore:` and `annotated:` of a dataset YAML."""

import json
from pathlib import Path

import numpy as np
import pytest

from lookonce.annotations import load_samples, load_splits
from lookonce.errors import AnnotationError
from lookonce.samples import Sample

from .conftest import ImageMaker

NAMES = "names: [car, van, tree]\n"


@pytest.fixture
def folder(image: ImageMaker, tmp_path: Path) -> Path:
    """Write two lists: a.png with a van and a tree, b.png with a tree, c.png with a car."""
    for name in ("a", "b", "c"):
        image(f"{name}.png")
    (tmp_path / "one.txt").write_text("a.png 1,2,30,40,1 5,5,20,20,2\nb.png 5,5,20,20,2\n")
    (tmp_path / "two.txt").write_text("c.png 5,5,20,20,0\n")
    return tmp_path


def write(folder: Path, text: str) -> Path:
    (folder / "set.yaml").write_text(text)
    return folder / "set.yaml"


def labels(samples: list[Sample]) -> list[list[int]]:
    return [sample.labels.tolist() for sample in samples]


def test_classes_are_merged_renamed_and_left_out(folder: Path) -> None:
    file = write(folder, NAMES + "classes: {van: car, tree: null}\ntrain: [one.txt, two.txt]\nval: two.txt\n")
    sets = load_splits(file)
    found = sets["train"]
    assert found.names == sets["val"].names == ("car",)
    assert labels(list(found.samples)) == [[0], [], [0]]
    assert found.samples[0].boxes.tolist() == [[1, 2, 30, 40]]
    assert {path.name: len(places) for path, places in found.places.items()} == {
        "a.png": 1,
        "b.png": 0,
        "c.png": 1,
    }
    assert [problem.what for problem in found.problems] == [
        "van: 1 box, now car",
        "tree: 2 boxes, dropped",
        "1 image loses all of its boxes: kept as a background image",
    ]
    assert "3 images (1 without objects), 2 boxes, 1 class" in found.describe()


def test_a_renamed_class_keeps_its_number(folder: Path) -> None:
    found = load_samples(write(folder, NAMES + "classes: {van: lorry}\ntrain: one.txt\n"))
    assert found.names == ("car", "lorry", "tree")
    assert labels(list(found.samples)) == [[1, 2], [2]]


def test_classes_named_only_in_the_files_can_be_mapped(folder: Path, data: Path) -> None:
    """COCO has the names in the file, so `names:` may list only the wanted ones."""
    classes = "classes: {RBC: cell, WBC: cell, Platelets: null}\n"
    text = f"names: [cell]\n{classes}val: {data / 'bccd'}/val_coco.json\n"
    found = load_samples(write(folder, text), "val")
    every = load_samples(data / "bccd" / "val_coco.json")
    assert found.names == ("cell",)
    wanted = sum(int((sample.labels != every.names.index("Platelets")).sum()) for sample in every.samples)
    assert sum(len(sample.labels) for sample in found.samples) == wanted > 100


def test_class_numbers_refer_to_names_only(folder: Path) -> None:
    file = write(folder, "names: [car, van]\nclasses: {truck: car}\ntrain: one.txt\n")
    found = load_samples(file)
    assert found.names == ("car", "van")
    assert labels(list(found.samples)) == [[1]]
    assert any("expected a class number from 0 to 1, found 2" in problem.what for problem in found.problems)


def test_ignored_classes_and_polygons_become_areas(folder: Path) -> None:
    file = write(folder, NAMES + "ignore: [tree, [[0, 0], [10.5, 0], [10, 10]]]\ntrain: one.txt\n")
    found = load_samples(file)
    assert found.names == ("car", "van")
    assert labels(list(found.samples)) == [[1], []]
    areas = [[area.corners.tolist() for area in sample.ignored] for sample in found.samples]
    square = [[5, 5], [20, 5], [20, 20], [5, 20]]
    assert areas == [[[[0, 0], [10.5, 0], [10, 10]], square]] * 2
    assert "tree: 2 boxes, ignored areas" in [problem.what for problem in found.problems]
    assert "4 ignored areas" in found.describe()


def test_a_yaml_without_splits_selects_too(folder: Path) -> None:
    for name, label in (("a", 0), ("b", 1), ("c", 2)):
        (folder / f"{name}.txt").write_text(f"{label} 0.5 0.5 0.25 0.25\n")
    (folder / "one.txt").unlink()
    (folder / "two.txt").unlink()
    (folder / "data.yaml").write_text(NAMES + "classes: {van: car, tree: null}\n")
    found = load_samples(folder)
    assert found.names == ("car",)
    assert labels(list(found.samples)) == [[0], [0], []]


def test_a_partly_annotated_source_ignores_its_missing_classes(folder: Path) -> None:
    text = NAMES + "classes: {van: car}\ntrain:\n  - one.txt\n  - {path: two.txt, annotated: [car]}\n"
    found = load_samples(write(folder, text), "train")
    assert found.names == ("car", "tree")
    a, b, c = found.samples
    assert a.ignored == b.ignored == ()
    assert [(area.labels, area.corners.tolist()) for area in c.ignored] == [
        ((1,), [[0, 0], [80, 0], [80, 60], [0, 60]])
    ]
    assert "1 image annotated for some classes only" in found.describe()


@pytest.mark.parametrize(
    ("second", "places"),
    [
        ("more.txt", ["more.txt"]),
        ("{path: more.txt, annotated: [tree]}", []),  # declared
        ("few.txt", []),  # possibly by chance
        ("empty.txt", []),  # background images
    ],
)
def test_a_source_that_lacks_a_class_is_reported(
    image: ImageMaker, tmp_path: Path, second: str, places: list[str]
) -> None:
    for i in range(20):
        image(f"{i}.png")
    (tmp_path / "all.txt").write_text(
        "".join(f"{i}.png 5,5,20,20,{2 * (i % 2)} 5,30,20,50,1\n" for i in range(8))
    )
    (tmp_path / "more.txt").write_text("".join(f"{i}.png 5,5,20,20,2\n" for i in range(8, 20)))
    (tmp_path / "few.txt").write_text("8.png 5,5,20,20,2\n")
    (tmp_path / "empty.txt").write_text("".join(f"{i}.png\n" for i in range(8, 20)))
    text = f"{NAMES}classes: {{van: null}}\ntrain:\n  - all.txt\n  - {second}\n"
    found = load_samples(write(tmp_path, text), "train").problems
    problems = [each for each in found if each.kind == "class-absent"]
    assert [Path(each.place).name for each in problems] == places
    if problems:
        assert "12 images" in problems[0].what
        assert "car (50%);" in problems[0].what
        assert problems[0].what.endswith("annotated: [tree]")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("classes: [van]\ntrain: one.txt", "expected classes: like {van: car, tree: null}"),
        ("classes: {van: [car]}\ntrain: one.txt", "expected classes: like {van: car, tree: null}"),
        ("classes: {car: null, van: null, tree: null}\ntrain: one.txt", "expected a class to keep"),
        ("ignore: [[[0, 0], [1, 1]]]\ntrain: one.txt", "expected ignore: with class names, or polygons"),
        ("ignore: [[[0, 0], [1, 1], [1, x]]]\ntrain: one.txt", "expected ignore: with class names"),
        ("ignore: [[[0, 0], [1, 1], [1, .nan]]]\ntrain: one.txt", "expected ignore: with class names"),
        ("ignore: [[[0, 0], [1, 0], [1, 0.5]]]\ntrain: one.txt", "expected ignore: with polygons in pixels"),
        ("ignore: {a: b}\ntrain: one.txt", "expected ignore: with class names"),
        ("train: {path: one.txt, annotated: [cat]}", "expected annotated: with some of"),
        ("train: {path: one.txt, annotated: car}", "expected annotated: with a list of class names"),
        ("train: {annotated: [car]}", "expected train: with a path"),
        ("train: {path: one.txt, annotate: [car]}", "expected train: with a path"),
        ("train: []", "expected train: with a path"),
    ],
)
def test_a_bad_selection_is_refused(folder: Path, text: str, what: str) -> None:
    file = write(folder, NAMES + text + "\n")
    with pytest.raises(AnnotationError, match=r"set\.yaml") as error:
        load_samples(file, "train")
    assert what in str(error.value)


def test_category_ids_follow_their_classes(image: ImageMaker, tmp_path: Path) -> None:
    image("a.png")
    rows = [
        {"id": i, "image_id": 1, "category_id": c, "bbox": [1, 1, 20, 20]} for i, c in enumerate((7, 9, 4))
    ]
    (tmp_path / "coco.json").write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "a.png", "height": 60, "width": 80}],
                "categories": [{"id": i, "name": n} for i, n in ((4, "tree"), (7, "car"), (9, "van"))],
                "annotations": rows,
            }
        )
    )
    text = "names: [tree, car, van]\nclasses: {van: car}\nval: coco.json\n"
    found = load_samples(write(tmp_path, text), "val")
    assert found.names == ("tree", "car")
    assert found.category_ids == (4, 7)
    np.testing.assert_array_equal(found.samples[0].labels, [1, 1, 0])


def test_a_class_renamed_to_an_ignored_one_is_ignored(folder: Path) -> None:
    text = NAMES + "classes: {van: DontCare}\nignore: [DontCare]\ntrain: one.txt\n"
    found = load_samples(write(folder, text))
    assert found.names == ("car", "tree")
    assert labels(list(found.samples)) == [[1], [1]]
    assert [len(sample.ignored) for sample in found.samples] == [1, 0]


def test_keys_without_a_value_change_nothing(folder: Path) -> None:
    found = load_samples(write(folder, NAMES + "classes:\nignore:\ntrain: one.txt\n"))
    assert found.names == ("car", "van", "tree")
    assert labels(list(found.samples)) == [[1, 2], [2]]


def test_an_unused_class_suggests_a_similar_name(folder: Path) -> None:
    found = load_samples(write(folder, NAMES + "classes: {Tree: null}\ntrain: one.txt\n"))
    assert [p.what for p in found.problems if p.kind == "selection"] == [
        "Tree: 0 boxes, dropped; did you mean tree?"
    ]


def test_annotated_uses_the_names_in_the_files(folder: Path) -> None:
    def missing(classes: str, annotated: str) -> list[tuple[int, ...]]:
        text = f"classes: {classes}\ntrain: {{path: one.txt, annotated: [{annotated}]}}\n"
        found = load_samples(write(folder, NAMES + text), "train")
        return [area.labels for area in found.samples[0].ignored]

    assert missing("{car: auto, van: auto}", "car, van, tree") == []
    assert missing("{car: auto, van: auto}", "car, tree") == [(0,)]  # vans have no boxes there
    assert missing("{van: null}", "car, van") == [(1,)]


def test_an_image_in_two_partly_annotated_sources_has_the_boxes_of_both(folder: Path) -> None:
    (folder / "cars.txt").write_text("a.png 30,30,50,50,0\nb.png\n")
    (folder / "trees.txt").write_text("a.png 5,5,20,20,2\nb.png 5,5,20,20,2\n")
    entries = ["{path: cars.txt, annotated: [car]}", "{path: trees.txt, annotated: [tree]}"]
    found = load_samples(write(folder, f"{NAMES}train: [{', '.join(entries)}]\n"), "train")
    assert labels(list(found.samples)) == [[0, 2], [2]]
    assert [[area.labels for area in sample.ignored] for sample in found.samples] == [[(1,)], [(1,)]]
    assert [len(found.places[sample.path]) for sample in found.samples] == [2, 1]
    assert [(p.kind, p.outcome) for p in found.problems if p.kind == "listed-twice"] == [
        ("listed-twice", "repaired")
    ] * 2
