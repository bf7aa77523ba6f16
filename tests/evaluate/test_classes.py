"""Test matching the classes of a model and of data by name."""

import pytest

from lookonce.errors import ConfigError
from lookonce.evaluate.classes import SharedClasses, listed

from .conftest import found, sample

MODEL, DATA = ("cat", "dog", "bird"), ("fish", "bird", "cat")
BOXES = [[0, 0, 9, 9], [10, 0, 19, 9], [20, 0, 29, 9]]


def test_shared_classes_keep_the_order_of_the_data() -> None:
    shared = SharedClasses.match(MODEL, DATA, "d")
    assert (shared.names, shared.unknown, shared.unused) == (("bird", "cat"), ("fish",), ("dog",))


@pytest.mark.parametrize(
    ("to", "objects", "detections", "names"),
    [
        (None, [0, 1], [1, 0], ("bird", "cat")),
        (MODEL, [2, 0], [0, 1, 2], MODEL),
        (DATA, [0, 1, 2], [2, 1], DATA),
    ],
)
def test_labels_are_renumbered_and_unshared_classes_dropped(
    to: tuple[str, ...] | None, objects: list[int], detections: list[int], names: tuple[str, ...]
) -> None:
    shared = SharedClasses.match(MODEL, DATA, "d")
    annotated = shared.sample(sample(BOXES, [0, 1, 2]), to)
    result = shared.detections(found(BOXES, [0.9, 0.8, 0.7], [0, 1, 2]), to)
    assert annotated.labels.tolist() == objects
    assert result.labels.tolist() == detections
    assert result.names == names
    assert len(annotated.boxes) == len(objects)
    assert len(result.boxes) == len(result.scores) == len(detections)


def test_no_class_in_common_names_the_data_and_both_sides() -> None:
    with pytest.raises(ConfigError, match=r"^d: .* found none: the model has cat, dog, the data head$"):
        SharedClasses.match(("cat", "dog"), ("head",), "d")


def test_a_long_list_of_names_is_shortened() -> None:
    assert listed([]) == "none"
    assert listed([str(i) for i in range(8)]) == "0, 1, 2, 3, 4, 5, 6, 7"
    assert listed([str(i) for i in range(10)]) == "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"


def test_known_aliases_match_and_are_named() -> None:
    found = SharedClasses.match(("sofa", "tvmonitor", "cat"), ("couch", "tv", "dog", "cat"), "data")

    assert found.names == ("couch", "tv", "cat")
    assert found.renamed == (("sofa", "couch"), ("tvmonitor", "tv"))
    assert found.unknown == ("dog",)
    assert found.unused == ()


def test_an_exact_name_wins_over_an_alias() -> None:
    both = SharedClasses.match(("sofa", "couch"), ("couch",), "data")
    same = SharedClasses.match(("sofa",), ("sofa", "couch"), "data")

    assert (both.names, both.renamed, both.unused) == (("couch",), (), ("sofa",))
    assert (same.names, same.renamed) == (("sofa",), ())


def test_aliases_are_renumbered_either_way() -> None:
    model, data = ("sofa", "cat"), ("cat", "couch")
    shared = SharedClasses.match(model, data, "data")

    assert shared.sample(sample(BOXES[:2], [0, 1]), to=model).labels.tolist() == [1, 0]
    assert shared.detections(found(BOXES[:2], [0.9, 0.8], [0, 1]), to=data).labels.tolist() == [1, 0]
