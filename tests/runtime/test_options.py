"""The options of detection: their checks, and the list of their names."""

import json
from dataclasses import fields, replace
from inspect import signature
from typing import Any, get_type_hints

import numpy as np
import pytest

from lookonce.errors import ConfigError
from lookonce.metadata import ModelInfo
from lookonce.runtime.detector import Detector
from lookonce.runtime.options import DetectOptions


def test_open_has_every_field_with_its_type_and_default() -> None:
    hints, parameters = get_type_hints(Detector.open), signature(Detector.open).parameters
    keywords = [name for name, each in parameters.items() if each.kind is each.KEYWORD_ONLY]
    assert keywords == [each.name for each in fields(DetectOptions)]
    for each in fields(DetectOptions):
        assert hints[each.name] == get_type_hints(DetectOptions)[each.name]
        assert parameters[each.name].default == each.default
    for name in ("model", *keywords):
        assert f"\n            {name}: " in str(Detector.open.__doc__)


def test_defaults_are_those_of_darknet() -> None:
    options = DetectOptions()
    assert (options.thresholds(["dog"]).tolist(), options.iou) == ([0.25], 0.45)
    switches = options.agnostic, options.soft_nms, options.multi_label, options.rect, options.tiling
    assert not any(switches)


@pytest.mark.parametrize(
    ("field", "edges", "wrong"),
    [
        (
            "conf",
            [0, 1, None, {"dog": 0.5}],
            [-0.01, 1.01, float("nan"), {"dog": 2}, {"dog": float("nan")}, "0.5"],
        ),
        ("iou", [0, 1, np.float32(0.5)], [-0.01, 1.01, float("nan"), "0.5", None]),
        ("classes", [None, [], "dog", 3, np.array([1, 2]).tolist(), {"dog"}], [1.5, [0.5], [None]]),
        ("size", [1, 8192, (32, 8192)], [0, 8193, -32, (32, 0), (8193, 32), "416", 416.0, (32, 32, 3)]),
        ("tiles", [32, (1, 1), (100, 100)], [31, 0, (0, 1), (1, 101), "2x2", 0.5, (1, 2, 3)]),
        ("overlap", [0, 0.9], [-0.1, 0.91, float("nan"), "0.2", None]),
        ("threads", [1, 64, None], [0, -1, 1.5, "2"]),
        ("fit", ["letterbox", "stretch", None], ["crop"]),
        ("backend", ["openvino", None], ["tensorflow"]),
        ("precision", ["auto", "float32", "int8"], ["float16", "", None]),
    ],
)
def test_each_field_has_its_range(field: str, edges: list[Any], wrong: list[Any]) -> None:
    for value in edges:
        DetectOptions(**{field: value})
    for value in wrong:
        with pytest.raises(ConfigError, match=f"^{field}: expected .*found"):
            replace(DetectOptions(), **{field: value})


def test_a_record_survives_json() -> None:
    options = DetectOptions(classes=np.array([1, 2]).tolist(), size=(320, 416), tiles=(2, 3), threads=4)
    record = options.as_record()

    assert json.loads(json.dumps(record)) == record
    assert record["size"] == [320, 416]
    assert "threads" not in record  # affects the time, not the results
    assert record == replace(options, threads=1).as_record()


def test_a_single_class_needs_no_list() -> None:
    names = ("cat", "dog", "hot dog")
    for one in ("dog", 1, ["dog"], np.int64(1).item()):
        assert DetectOptions(classes=one).class_numbers(names) == (1,)
    assert DetectOptions(classes="hot dog").class_numbers(names) == (2,)
    assert DetectOptions(classes=[]).class_numbers(names) == ()
    with pytest.raises(ConfigError, match=r"^classes: expected some of cat, dog, hot dog; found 'cat,dog'"):
        DetectOptions(classes="cat,dog").class_numbers(names)


def test_digits_are_read_as_a_name_before_a_number() -> None:
    names = ("0", "dog", "1")
    assert DetectOptions(classes=["1", "dog", "2", 1]).class_numbers(names) == (2, 1, 2, 1)
    for wrong in ("cat", "3", 3, -1):
        with pytest.raises(ConfigError, match="classes: expected some of 0, dog, 1; found"):
            DetectOptions(classes=[wrong]).class_numbers(names)


def info(thresholds: tuple[float, ...] = ()) -> ModelInfo:
    return ModelInfo("darknet", ("cat", "dog"), (((1.0, 1.0),),), (32,), (64, 64), thresholds=thresholds)


@pytest.mark.parametrize(
    ("conf", "thresholds", "expected"),
    [
        (None, (), 0.25),
        (None, (0.4, 0.6), {"cat": 0.4, "dog": 0.6}),
        (0.3, (0.4, 0.6), 0.3),
        (0, (0.4, 0.6), 0),
        ({"dog": 0.2}, (0.4, 0.6), {"cat": 0.4, "dog": 0.2}),
        ({"dog": 0.2}, (), {"cat": 0.25, "dog": 0.2}),
    ],
)
def test_thresholds_of_user_model_and_default_apply_in_this_order(
    conf: Any, thresholds: tuple[float, ...], expected: Any
) -> None:
    options = DetectOptions(conf=conf).for_model(info(thresholds))
    assert options.conf == expected
    assert json.loads(json.dumps(options.as_record()))["conf"] == expected


def test_a_threshold_of_an_unknown_class_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"conf: expected some of cat, dog; found 'dgo'; did you mean dog\?$"
    ):
        DetectOptions(conf={"dgo": 0.2}).for_model(info())


@pytest.mark.parametrize("threads", [0, -1, 1025, 1 << 31, 10**20])
def test_an_impossible_number_of_threads_is_refused(threads: int) -> None:
    with pytest.raises(ConfigError, match="threads: expected a whole number from 1 to 1,024"):
        DetectOptions(threads=threads)
