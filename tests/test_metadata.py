"""The description in a model file is read back as written, and other text is rejected."""

import json
from typing import Any

import pytest

from lookonce.errors import ModelFileError
from lookonce.metadata import LONGEST_NAME, MOST_CLASSES, ModelInfo

INFO = ModelInfo(
    "yolov3-tiny",
    names=("cat", "犬"),
    anchors=(((10.0, 13.0),), ((62.0, 45.5),)),
    strides=(16, 32),
    input_size=(64, 96),
    width=0.25,
    fit="stretch",
    thresholds=(0.4, 0.25),
    training={"epoch": 3, "metrics": {"ap": 0.5}, "objective": {"loss": {}}},
)


def test_written_metadata_reads_back() -> None:
    assert ModelInfo.from_json(INFO.to_json(), "x") == INFO


def test_optional_fields_have_defaults() -> None:
    fields = json.loads(INFO.to_json())
    for name in ("width", "bn_epsilon", "fit", "training", "thresholds"):
        del fields[name]
    assert ModelInfo.from_json(json.dumps(fields), "x").width == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format_version", 2),
        ("architecture", 3),
        ("architecture", "x" * (LONGEST_NAME + 1)),
        ("names", []),
        ("names", "cat"),
        ("names", ["cat", 3]),
        ("names", ["cat", "\ud800"]),
        ("names", ["x"] * (MOST_CLASSES + 1)),
        ("names", ["cat", "x" * (LONGEST_NAME + 1)]),
        ("anchors", []),
        ("anchors", [[]]),
        ("anchors", [[[10]]]),
        ("anchors", [[[10, "13"]]] * 2),
        ("anchors", [[[10, 0]]] * 2),
        ("anchors", [[[10, float("nan")]]] * 2),
        ("anchors", [[[10, float("inf")]]] * 2),
        ("anchors", [[[10, 10**400]]] * 2),
        ("anchors", [[[10, 13]]] * 3),
        ("strides", [0, 32]),
        ("strides", [16.0, 32]),
        ("strides", [True, 32]),
        ("strides", [32, 16]),
        ("strides", [16]),
        ("strides", [16, 1 << 20]),
        ("input_size", [416]),
        ("input_size", [0, 416]),
        ("input_size", [416, 1 << 20]),
        ("input_size", [8192, 8192]),
        ("width", 0),
        ("width", -1),
        ("width", 65),
        ("width", float("nan")),
        ("width", "1"),
        ("bn_epsilon", 0),
        ("bn_epsilon", 2),
        ("bn_epsilon", None),
        ("fit", "crop"),
        ("fit", ["stretch"]),
        ("thresholds", [0.4]),
        ("thresholds", [0.4, 2]),
        ("thresholds", [0.4, float("nan")]),
        ("thresholds", [0.4, "0.5"]),
        ("thresholds", 0.4),
        ("training", []),
        ("training", {"other": 1}),
        ("training", {"epoch": "3"}),
        ("training", {"metrics": {"ap": "high"}}),
        ("training", {"objective": {"loss": 3}}),
        ("training", {"data": {"images": 1, "boxes": 2, "validation": 0}}),
        ("training", {"data": {"images": 1.5, "boxes": 2, "validation": 0, "digest": ""}}),
        ("training", {"progress": {"epochs": 1, "best_ap": 0, "best_epoch": 1, "seconds": 1, "more": 0}}),
        ("training", {"int8": {"images": [1]}}),
        ("weights", 1),
    ],
)
def test_every_field_is_checked_and_named_in_one_line(field: str, value: Any) -> None:
    fields = json.loads(INFO.to_json()) | {field: value}
    with pytest.raises(ModelFileError, match=r"^m\.onnx: ") as caught:
        ModelInfo.from_json(json.dumps(fields), "m.onnx")
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "3",
        '{"format_version": 1}',
        "[" * 100_000,
        '{"a":' * 100_000,
        "9" * 5000,
        " " * (1 << 25),
    ],
    ids=lambda text: text[:20],
)
def test_text_that_is_not_a_description_is_refused(text: str) -> None:
    with pytest.raises(ModelFileError, match=r"^m\.onnx: ") as caught:
        ModelInfo.from_json(text, "m.onnx")
    assert len(str(caught.value)) < 400
