from pathlib import Path

import pytest

from lookonce.annotations import load_samples, load_splits, open_annotations
from lookonce.errors import AnnotationError

from .conftest import ImageMaker


@pytest.fixture
def folder(image: ImageMaker, tmp_path: Path) -> Path:
    """Write two lists of one-line text."""
    for split in ("train", "val", "more"):
        image(f"of {split}.png")
        (tmp_path / f"{split}.txt").write_text(f"of {split}.png 1,2,30,40,1\n")
    return tmp_path


def write(folder: Path, text: str, name: str = "set.yaml") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_each_split_may_have_its_own_format(folder: Path, data: Path) -> None:
    text = f"names: [Platelets, RBC, WBC]\ntrain: [train.txt, more.txt]\nval: {data / 'bccd'}\n"
    file = write(folder, text + f"test: {data / 'bccd'}/val_coco.json\n")
    assert open_annotations(file).splits == ("train", "val", "test")
    sets = load_splits(file)
    assert {split: len(found.samples) for split, found in sets.items()} == {"train": 2, "val": 87, "test": 72}
    assert {split: found.format for split, found in sets.items()} == {
        "train": "lines",
        "val": "voc",
        "test": "coco",
    }
    assert {found.names for found in sets.values()} == {("Platelets", "RBC", "WBC")}
    mixed = write(
        folder, f"names: [Platelets, RBC, WBC]\ntrain: [train.txt, {data / 'bccd'}/val_coco.json]\n"
    )
    assert load_samples(mixed).format == "coco+lines"
    assert len(load_samples(mixed, "train").samples) == 73


@pytest.mark.parametrize("names", ["[cat, dog]", "{0: cat, 1: dog}", "{1: dog, 0: cat}", "[cat, dog]\nnc: 2"])
def test_names_may_be_a_list_or_a_mapping(folder: Path, names: str) -> None:
    found = load_samples(write(folder, f"names: {names}\ntrain: train.txt\n"), "train")
    assert (found.names, found.samples[0].labels.tolist()) == (("cat", "dog"), [1])


def test_numbered_names_are_sorted_by_number(folder: Path) -> None:
    names = "{" + ", ".join(f"{i}: c{i}" for i in range(11)) + "}"
    assert load_samples(write(folder, f"names: {names}\ntrain: train.txt\n")).names[10] == "c10"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("train: train.txt", "expected names: with a list of class names, found None"),
        ("names: cat\ntrain: train.txt", "expected names: with a list of class names, found 'cat'"),
        ("names: [cat, [dog]]\ntrain: train.txt", "expected names: with a list"),
        ("names: []\ntrain: train.txt", "expected class names, found none"),
        ("names: [cat, cat]\ntrain: train.txt", "found 'cat' again"),
        ("names: {0: cat, 2: dog}\ntrain: train.txt", r"numbered from 0 without a gap, found 0, 2"),
        ("names: [cat, dog]\nnc: 3\ntrain: train.txt", r"expected 3 class names \(nc:\), found 2"),
        (
            "names: [cat, dog]\ntrain: {a: 7}",
            r"expected train: with a path, .* or a list of these, found \{'a': '7'\}",
        ),
        ("names: [cat, dog]\ntrain: no.txt", "expected train: no.txt at .*no.txt, found nothing there"),
    ],
)
def test_an_unusable_yaml_is_an_error(folder: Path, text: str, what: str) -> None:
    with pytest.raises(AnnotationError, match=what) as caught:
        load_samples(write(folder, text))
    assert "set.yaml" in str(caught.value)


def test_text_that_is_not_yaml_is_an_error(folder: Path) -> None:
    with pytest.raises(AnnotationError, match=r"set\.yaml: not YAML"):
        load_samples(write(folder, "names: [cat"))


def test_an_unknown_key_is_noted(folder: Path) -> None:
    found = load_samples(write(folder, "names: [cat, dog]\ntrain: train.txt\nvall: val.txt\n"), "train")
    assert [(p.outcome, p.what) for p in found.problems] == [
        ("noted", "the key 'vall' is unknown and has no effect"),
        ("noted", "no annotation names it: not used; 2 like this in all"),
    ]


@pytest.mark.parametrize("key", ["licence", "license", "version", "roboflow", "kpt_names"])
def test_keys_of_other_programs_are_not_noted(folder: Path, key: str) -> None:
    found = open_annotations(write(folder, f"names: [cat, dog]\ntrain: train.txt\n{key}: MIT\n"))
    assert not found.remarks


def test_paths_are_relative_to_the_path_key_or_the_yaml(folder: Path) -> None:
    (folder / "sub").mkdir()
    start = write(folder / "sub", "path: ..\nnames: [cat, dog]\ntrain: train.txt\n")
    assert len(load_samples(start, "train").samples) == 1
    above = write(folder, "names: [cat, dog]\ntrain: ../train.txt\n")  # as some exports have it
    assert len(load_samples(above, "train").samples) == 1


@pytest.mark.parametrize("absolute", [False, True])
def test_images_beside_a_yaml_that_points_elsewhere_are_ignored(
    image: ImageMaker, tmp_path: Path, absolute: bool
) -> None:
    for name in ("set/named.png", "set/idle.png", "desk/holiday.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        image(name)
    (tmp_path / "set" / "train.txt").write_text("named.png 1,2,30,40,1\n")
    place = tmp_path / "set" if absolute else "../set"
    found = load_samples(write(tmp_path / "desk", f"path: {place}\nnames: [cat, dog]\ntrain: train.txt\n"))
    assert [sample.path.name for sample in found.samples] == ["named.png"]
    assert [Path(problem.place).name for problem in found.problems] == ["idle.png"]


def test_a_folder_is_read_through_its_yaml(folder: Path) -> None:
    write(folder, "names: [cat, dog]\nvalid: val.txt\n", "data.yaml")
    assert open_annotations(folder).splits == ("val",)
    write(folder, "names: [cat, dog]\nval: .\n", "data.yaml")
    assert len(load_samples(folder).samples) == 1  # without an endless loop


def test_names_that_contradict_the_yaml_are_an_error(folder: Path) -> None:
    file = write(folder, "names: [cat, dog]\ntrain: train.txt\n")
    assert len(load_samples(file, names=("cat", "dog")).samples) == 1
    with pytest.raises(AnnotationError, match=r"\.yaml: expected the classes dog, cat, found cat, dog"):
        load_samples(file, names=("dog", "cat"))


@pytest.mark.parametrize("given", ["{a: b}", "[train]"])
def test_a_path_that_is_not_text_is_an_error(folder: Path, given: str) -> None:
    file = write(folder, f"names: [cat, dog]\npath: {given}\ntrain: train.txt\n")
    with pytest.raises(AnnotationError, match="expected path: with a folder, found"):
        open_annotations(file)


@pytest.mark.parametrize("text", ["path: /\ntrain: .\n", f"path: {'../' * 40}\ntrain: .\n", "train: /\n"])
def test_the_file_system_root_is_refused(folder: Path, text: str) -> None:
    with pytest.raises(AnnotationError, match=r"set\.yaml: expected a folder of the data set, found .*root"):
        open_annotations(write(folder, f"names: [cat, dog]\n{text}"))


def test_a_path_of_root_is_allowed_with_splits_below_it(folder: Path) -> None:
    relative = str(folder / "train.txt").lstrip("/")
    found = load_samples(write(folder, f"names: [cat, dog]\npath: /\ntrain: {relative}\n"))
    assert [sample.path.name for sample in found.samples] == ["of train.png"]


def test_a_walk_above_the_yaml_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lookonce.annotations.dataset_yaml.MOST_ABOVE", 5)
    below = folder / "a" / "b"
    below.mkdir(parents=True)
    file = write(below, "names: [cat, dog]\npath: ../..\ntrain: .\n")
    with pytest.raises(AnnotationError, match="expected at most 5 files and folders, found more"):
        load_samples(file)
    beside = write(folder / "a", "names: [cat, dog]\npath: ..\ntrain: train.txt\n")  # as many export tools do
    assert len(load_samples(beside).samples) == 1
