"""The annotation of one image of a data set."""

from pathlib import Path

import numpy as np
import pytest

from lookonce.annotations import load_samples
from lookonce.errors import AnnotationError, ConfigError
from lookonce.explain import Explainer
from lookonce.explain.annotation import find_truth
from lookonce.images import write_image
from lookonce.samples import Sample

NAMES = ("Platelets", "RBC", "WBC")  # in another order than the data


def test_the_image_is_found_by_path_with_the_models_class_numbers(data: Path) -> None:
    path = data / "bccd" / "JPEGImages" / "BloodImage_00003.jpg"
    (expected,) = (each for each in load_samples(data / "bccd").samples if each.path.name == path.name)
    names = load_samples(data / "bccd").names

    truth, remarks = find_truth(data / "bccd", path, NAMES)

    np.testing.assert_array_equal(truth.boxes, expected.boxes)
    assert [NAMES[label] for label in truth.labels] == [names[label] for label in expected.labels]
    assert remarks == ()


def test_an_image_elsewhere_is_found_by_file_name(data: Path) -> None:
    truth, _ = find_truth(data / "bccd", Path("/somewhere/BloodImage_00003.jpg"), NAMES)

    assert len(truth.labels) == 17


def test_objects_of_unknown_classes_are_named(data: Path) -> None:
    path = data / "bccd" / "JPEGImages" / "BloodImage_00003.jpg"

    truth, remarks = find_truth(data / "bccd", path, ("WBC", "Platelets", "dog"))

    assert sorted(truth.labels.tolist()) == [0, 1]
    assert remarks == ("15 of 17 objects skipped: the model does not know RBC",)


def test_a_missing_image_is_an_error(data: Path) -> None:
    with pytest.raises(
        AnnotationError,
        match=r"bccd: expected an image cat\.jpg or one named cat\.jpg, found none among 364: "
        r"BloodImage_\d+\.jpg, .* and 356 more",
    ):
        find_truth(data / "bccd", Path("cat.jpg"), NAMES)


def test_only_the_given_split_is_searched(data: Path) -> None:
    test = load_samples(data / "bccd", "test").samples[0].path

    assert len(find_truth(data / "bccd", test, NAMES, split="test")[0].labels) > 0
    with pytest.raises(AnnotationError, match="found none among 292"):
        find_truth(data / "bccd", test, NAMES, split="trainval")


def test_several_images_of_one_name_are_an_error(tmp_path: Path) -> None:
    lines = []
    for folder in ("a", "b"):
        write_image(tmp_path / folder / "p.png", np.zeros((40, 40, 3), np.uint8))
        lines.append(f"{folder}/p.png 1,1,20,20,0\n")
    (tmp_path / "lines.txt").write_text("".join(lines))
    (tmp_path / "classes.names").write_text("cat\n")
    where = tmp_path / "lines.txt"

    truth, _ = find_truth(where, tmp_path / "b" / "p.png", ("cat",), data_names=tmp_path / "classes.names")
    assert truth.path == tmp_path / "b" / "p.png"
    with pytest.raises(AnnotationError, match=r"expected one image named p\.png, found 2: .*a/p\.png, .*b/p"):
        find_truth(where, Path("p.png"), ("cat",), data_names=tmp_path / "classes.names")


def test_no_class_in_common_is_an_error(data: Path) -> None:
    path = data / "bccd" / "JPEGImages" / "BloodImage_00003.jpg"

    with pytest.raises(ConfigError, match=r"knows, found none: the model has dog, the data .*WBC"):
        find_truth(data / "bccd", path, ("dog",))


def test_problems_of_the_image_are_passed_on(data: Path) -> None:
    # the size in its XML is 0x0
    samples = load_samples(data / "heads")
    place = next(problem.place for problem in samples.problems if "0x0" in problem.what)

    _, remarks = find_truth(data / "heads", Path(f"{Path(place.split(':')[0]).stem}.jpg"), samples.names)

    assert any("0x0" in remark for remark in remarks)
    assert len(remarks) <= 2


def test_problems_of_other_images_are_not_passed_on(tmp_path: Path) -> None:
    for name, width in (("p1", 20), ("p10", 60), ("p-1", 60)):
        write_image(tmp_path / "JPEGImages" / f"{name}.png", np.zeros((40, 40, 3), np.uint8))
        box = f"<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>{width}</xmax><ymax>20</ymax></bndbox>"
        xml = (
            f"<annotation><filename>{name}.png</filename><object><name>cat</name>{box}</object></annotation>"
        )
        (tmp_path / "Annotations").mkdir(exist_ok=True)
        (tmp_path / "Annotations" / f"{name}.xml").write_text(xml)

    _, quiet = find_truth(tmp_path, Path("p1.png"), ("cat",))
    _, odd = find_truth(tmp_path, Path("p10.png"), ("cat",))

    assert quiet == ()
    assert len(odd) == 1
    assert "reaches over" in odd[0]


def test_a_class_number_out_of_range_is_an_error(tiny: Explainer) -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    truth = Sample(Path("p.png"), np.array([[1, 1, 20, 20]], np.float32), np.array([3]))

    with pytest.raises(AnnotationError, match=r"p\.png: expected class numbers from 0 to 2, found 3"):
        tiny(image, truth)
