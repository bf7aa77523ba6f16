import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from lookonce.annotations import load_samples, load_splits, open_annotations, write_samples
from lookonce.errors import AnnotationError
from lookonce.images import write_image
from lookonce.samples import Sample, SampleSet


@pytest.mark.parametrize(
    ("path", "form", "said"),
    [
        ("heads", "voc", "Pascal VOC folder {} (it also holds COCO: name the file to read that)"),
        ("bccd", "voc", "Pascal VOC folder {} (it also holds COCO"),
        ("bccd/ImageSets/Main/test.txt", "voc", "Pascal VOC list {}"),
        ("bccd/val_coco.json", "coco", "COCO file {}"),
        ("heads/val_lines.txt", "lines", "one line per image, {}"),
        ("voc_sample", "coco", "COCO folder {} (train.json, val.json), splits train, val"),
        ("voc_sample/gts/pascalvoc_format", "voc", "Pascal VOC folder {} (every XML)"),
        ("voc_sample/gts/imagenet_format", "voc", "Pascal VOC folder {} (list default.txt)"),
        ("voc_sample/gts/coco_format_v1", "coco", "COCO folder {}"),
        ("voc_sample/gts/coco_format_v2/instances_v2.json", "coco", "COCO file {}"),
        ("voc_sample/gts/yolo_format", "yolo", "Darknet data file {}/obj.data"),
        ("voc_sample/gts/yolo_format/obj.data", "yolo", "Darknet data file {}"),
    ],
)
def test_formats_are_recognized_and_described(data: Path, path: str, form: str, said: str) -> None:
    found = load_samples(data / path)
    assert found.format == form
    assert found.describe().startswith(said.format(data / path))


@pytest.mark.parametrize(
    "dialect",
    [
        "gts/imagenet_format",
        "gts/coco_format_v1/instances_default.json",
        "gts/coco_format_v2/instances_v2.json",
        "gts/yolo_format/obj.data",
        ".",
    ],
)
def test_every_dialect_gives_the_same_boxes(data: Path, dialect: str) -> None:
    sample = data / "voc_sample"
    assert _boxes(sample / dialect) == _boxes(sample / "gts" / "pascalvoc_format")


def _boxes(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return the boxes of each image by class name, to a hundredth of a pixel, as YOLO has six decimals."""
    found = load_samples(path)
    return {
        sample.path.name: sorted(
            (found.names[label], *(round(side, 2) for side in box))
            for box, label in zip(sample.boxes.tolist(), sample.labels.tolist(), strict=True)
        )
        for sample in found.samples
    }


def test_missing_or_empty_data_is_an_error(data: Path, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="expected annotations, found no such file or folder"):
        load_samples(tmp_path / "no")
    with pytest.raises(AnnotationError, match="found an empty folder"):
        load_samples(tmp_path)
    shutil.copytree(data / "voc_sample" / "gts" / "pascalvoc_format", tmp_path / "boxes")
    with pytest.raises(AnnotationError, match="none of its 100 images was found"):
        load_samples(tmp_path)
    (tmp_path / "a.csv").touch()
    with pytest.raises(AnnotationError, match=r"a\.csv: expected a dataset YAML"):
        load_samples(tmp_path / "a.csv")


@pytest.mark.parametrize("form", ["coco", "voc", "yolo", "cvat", "labelme", "labelstudio"])
def test_a_named_file_is_read_whatever_is_beside_it(tmp_path: Path, form: str) -> None:
    write_image(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    sample = Sample(tmp_path / "a.png", np.array([[1, 1, 7, 7]], np.float32), np.array([0]))
    write_samples({"train": SampleSet(("cat",), [sample], [], "")}, form, tmp_path / "exported")
    (tmp_path / "mine.txt").write_text("a.png 2,3,4,5,0\n")
    found = load_samples(tmp_path / "mine.txt", names=("dog",))
    assert (found.format, found.samples[0].boxes.tolist()) == ("lines", [[2, 3, 4, 5]])
    (tmp_path / "mine.foo").touch()
    with pytest.raises(AnnotationError, match=r"mine\.foo: expected a dataset YAML.* found none of these"):
        load_samples(tmp_path / "mine.foo")
    for name in ("mine.zip", "mine.csv", "mine.json"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(AnnotationError, match=rf"{name}: expected a file, found a FIFO"):
            load_samples(tmp_path / name)


def test_splits_are_listed_and_an_unknown_one_is_refused(data: Path) -> None:
    assert open_annotations(data / "bccd").splits == ("train", "val", "trainval", "test")
    assert open_annotations(data / "voc_sample").splits == ("train", "val")
    assert open_annotations(data / "heads" / "val_lines.txt").splits == ()
    with pytest.raises(AnnotationError, match="expected a split tset, found train, val, trainval, test"):
        load_samples(data / "bccd", "tset")


def test_undivided_data_serves_as_any_split_and_says_so(data: Path) -> None:
    found = load_samples(data / "voc_sample" / "val.json", "test")
    assert len(found.samples) == 20
    assert "not divided into splits: used as test" in found.describe()


def test_loading_all_splits_gives_each_image_once(data: Path) -> None:
    found = load_samples(data / "bccd")  # trainval is train and val again
    assert len(found.samples) == len({s.path for s in found.samples}) == 364


def test_all_splits_share_class_names(data: Path, tmp_path: Path) -> None:
    assert list(load_splits(data / "bccd")) == ["train", "val", "trainval", "test"]
    assert list(load_splits(data / "voc_sample" / "val.json")) == ["val"]
    assert list(load_splits(data / "voc_sample" / "gts" / "pascalvoc_format")) == ["train"]
    for split, names in (("train", "ab"), ("val", "ba")):
        categories = [f'{{"id": {i}, "name": "{name}"}}' for i, name in enumerate(names)]
        text = f'{{"images": [], "annotations": [], "categories": [{", ".join(categories)}]}}'
        (tmp_path / f"{split}.json").write_text(text)
    assert {found.names for found in load_splits(tmp_path).values()} == {("a", "b")}
    with pytest.raises(AnnotationError, match="expected the same classes everywhere, found a, b and b, a"):
        load_samples(tmp_path)


def test_names_may_be_a_file(data: Path) -> None:
    heads = data / "heads"
    assert load_samples(heads / "val_lines.txt", names=heads / "heads.names").names == ("head",)


def test_unannotated_images_are_counted_with_advice_to_label_them(tmp_path: Path) -> None:
    for number in range(3):
        write_image(tmp_path / f"deep/{number}.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(AnnotationError, match=r"3 images, no annotations: label them in CVAT, .* export as"):
        open_annotations(tmp_path)
    (tmp_path / "other.json").write_text("[]")  # then a list of formats helps more
    with pytest.raises(AnnotationError, match="expected"):
        open_annotations(tmp_path)
