"""Detections: selection, shapes, conversions, and display in a notebook."""

import base64
import copy
import gc
import json
import os
import pickle
import re
import subprocess
import sys
import venv
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas
import pytest
from PIL import Image

from lookonce import Detector, write_image
from lookonce.detections import Detection, Detections
from lookonce.errors import ImageError, MissingExtraError
from tests.tiny_onnx import MAGENTA, YELLOW, image, write_tiny_model

NAMES = ("cat", "dog", "bird")
NONE = Detections.none(NAMES)


def found(**changes: Any) -> Detections:
    boxes = np.array([[10, 20, 30, 60], [0, 0, 50, 25], [90.5, 10.25, 100, 20]], np.float32)
    scores, labels = np.array([0.9, 0.75, 0.5], np.float32), np.array([1, 0, 1])
    return replace(Detections(boxes, scores, labels, NAMES, (80, 100)), **changes)


def test_a_number_selects_one_detection() -> None:
    assert [found()[i] for i in range(3)] == list(found())
    assert found()[0] == ("dog", pytest.approx(0.9), (10, 20, 30, 60))
    assert found()[-1].box == found()[np.int64(2)].box == (90.5, 10.25, 100, 20)
    assert isinstance(found()[0], Detection)
    with pytest.raises(IndexError):
        found()[3]
    with pytest.raises(IndexError):
        NONE[0]


def test_a_name_selects_a_class() -> None:
    assert found()["dog"] == found()[[0, 2]]
    assert len(found()["bird"]) == len(NONE["dog"]) == 0
    assert found(names=())["1"] == found(names=())[[0, 2]]
    with pytest.raises(KeyError, match="one of the classes cat, dog, bird; found 'horse'"):
        found()["horse"]


def test_masks_slices_and_numbers_select_objects() -> None:
    for index in (slice(0, 2), [0, 1], np.array([True, True, False]), found().scores > 0.6):
        assert found()[index] == Detections(
            found().boxes[:2], found().scores[:2], found().labels[:2], NAMES, (80, 100)
        )


def test_equality_is_exact() -> None:
    assert found() == found()
    assert Detections.none(NAMES) == NONE
    assert found() == replace(found(), source="a.jpg")
    for change in ({"names": ("a", "b", "c")}, {"image_size": None}, {"boxes": found().boxes + 1e-3}):
        assert found() != found(**change)
    assert found() != found()[:2]
    assert found() != "text"


def test_counts_are_per_class() -> None:
    assert found().counts() == {"dog": 2, "cat": 1}
    assert found().counts()["bird"] == 0
    assert not NONE.counts()


def test_repr_is_one_line() -> None:
    assert repr(found()) == "Detections(3: dog 0.90, cat 0.75, dog 0.50)"
    assert repr(NONE) == "Detections(0)"
    many = Detections(np.ones((9, 4), np.float32), np.ones(9, np.float32), np.zeros(9, np.int64), NAMES)
    assert repr(many) == f"Detections(9: {', '.join(['cat 1.00'] * 6)}, ...)"


def test_boxes_convert_to_other_formats() -> None:
    assert found().xywh.tolist()[:2] == [[10, 20, 20, 40], [0, 0, 50, 25]]
    assert found().cxcywh.tolist()[:2] == [[20, 40, 20, 40], [25, 12.5, 50, 25]]
    np.testing.assert_allclose(found().normalized[0], [0.1, 0.25, 0.3, 0.75])
    assert NONE.xywh.shape == NONE.cxcywh.shape == (0, 4)
    for form in (found().xywh, found().cxcywh, found().normalized):
        assert form.dtype == np.float32
    with pytest.raises(ValueError, match="image_size"):
        _ = found(image_size=None).normalized


def test_pickles_and_copies_are_equal() -> None:
    pixels = np.zeros((80, 100, 3), np.uint8)
    for original in (found(), NONE, found(source="a.jpg")):
        for again in (pickle.loads(pickle.dumps(original)), copy.copy(original), copy.deepcopy(original)):
            assert again == original
            assert again.source == original.source
    from weakref import ref

    assert pickle.loads(pickle.dumps(found(source=ref(pixels)))).source is None


def test_to_dict_holds_json_types() -> None:
    first = {"class": "dog", "score": 0.9, "box": [10, 20, 30, 60]}
    assert found().to_dict()["detections"][0] == first
    assert json.loads(found().to_json()) == found().to_dict()
    assert (found().to_dict()["width"], found().to_dict()["height"]) == (100, 80)
    assert NONE.to_dict() == {"detections": []}


def test_to_coco_gives_result_entries() -> None:
    assert found().to_coco(7)[2] == {
        "image_id": 7, "category_id": 2, "bbox": [90.5, 10.25, 9.5, 9.75], "score": 0.5,
    }  # fmt: skip
    assert [each["category_id"] for each in found().to_coco("a", [1, 18, 16])] == [18, 1, 18]
    assert NONE.to_coco(1) == []


def test_to_pandas_gives_one_row_per_detection() -> None:
    table = found().to_pandas()
    assert list(table.columns) == ["class", "score", "left", "top", "right", "bottom"]
    assert table[table["score"] > 0.6]["class"].tolist() == ["dog", "cat"]
    assert table.loc[2, ["left", "bottom"]].tolist() == [90.5, 20]
    assert NONE.to_pandas().shape == (0, 6)
    assert isinstance(table, pandas.DataFrame)


@pytest.mark.parametrize("package", ["pandas", "supervision", "fiftyone"])
def test_a_missing_package_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=f"'{package}': pip install {package}$"):
        getattr(found(), f"to_{package}")()


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for Supervision and FiftyOne; a slow test uses the real Supervision."""
    for package in ("supervision", "fiftyone"):
        module = ModuleType(package)
        for name in ("Detections", "Detection"):
            setattr(module, name, lambda **fields: SimpleNamespace(**fields))
        monkeypatch.setitem(sys.modules, package, module)


@pytest.mark.usefixtures("stand_ins")
def test_detections_survive_supervision() -> None:
    there = found().to_supervision()
    assert there.data["class_name"].tolist() == ["dog", "cat", "dog"]
    assert Detections.from_supervision(there, NAMES) == found(image_size=None)
    assert Detections.from_supervision(there).names == ("cat", "dog")
    shuffled = SimpleNamespace(
        xyxy=there.xyxy[::-1], confidence=there.confidence[::-1], class_id=there.class_id[::-1], data={}
    )
    assert Detections.from_supervision(shuffled, NAMES) == found(image_size=None)
    nothing = SimpleNamespace(xyxy=np.zeros((0, 4)), confidence=None, class_id=None, data={})
    assert Detections.from_supervision(nothing, NAMES) == NONE
    there.confidence = None
    with pytest.raises(ValueError, match="confidence"):
        Detections.from_supervision(there)


@pytest.mark.usefixtures("stand_ins")
def test_fiftyone_boxes_are_fractions_of_the_image() -> None:
    first = found().to_fiftyone().detections[0]
    assert first.label == "dog"
    assert first.bounding_box == pytest.approx([0.1, 0.25, 0.2, 0.5])
    with pytest.raises(ValueError, match="image_size"):
        found(image_size=None).to_fiftyone()


@pytest.mark.slow
def test_detections_survive_the_real_supervision(tmp_path: Path) -> None:
    """Supervision has its own environment, because its opencv-python conflicts with the headless one."""
    venv.create(tmp_path, with_pip=True)
    python = tmp_path / ("Scripts" if os.name == "nt" else "bin") / "python"
    packages = ["supervision", "array-api-compat"]
    subprocess.run([python, "-m", "pip", "--quiet", "install", *packages], check=True)
    code = """
import numpy as np, supervision as sv
from lookonce.detections import Detections
ours = Detections(np.array([[1, 2, 30, 40], [5, 5, 9, 9]], np.float32), np.array([0.9, 0.5], np.float32),
                  np.array([1, 0]), ("cat", "dog"))
theirs = ours.to_supervision()
assert isinstance(theirs, sv.Detections) and len(theirs) == 2
assert Detections.from_supervision(theirs) == ours
assert Detections.from_supervision(theirs[theirs.confidence > 0.6], ours.names) == ours[:1]
assert len(Detections.none(("cat",)).to_supervision()) == 0
assert Detections.from_supervision(sv.Detections.empty(), ("cat",)) == Detections.none(("cat",))
"""
    source = Path(__file__).parents[1] / "src"
    environment = {**os.environ, "PYTHONPATH": str(source)}
    subprocess.run([python, "-c", code], check=True, env=environment)


PIXELS = image((64, 96), ((0, 0, 32, 32), MAGENTA), ((64, 32, 96, 64), YELLOW))


@pytest.fixture
def detector(tmp_path: Path) -> Detector:
    return Detector.open(write_tiny_model(tmp_path / "tiny.onnx"), threads=1)


def test_crops_are_the_pixels_in_the_boxes(tmp_path: Path, detector: Detector) -> None:
    boxes = np.array([[0, 0, 32, 32], [64.5, 32, 95.2, 63.5], [95.9, 63.9, 96, 64]], np.float32)
    three = Detections(boxes, np.ones(3, np.float32), np.zeros(3, np.int64))
    write_image(tmp_path / "a.png", PIXELS)
    for form in (PIXELS, tmp_path / "a.png", Image.fromarray(PIXELS)):
        first, second, last = three.crop(form)
        assert (first.shape, second.shape, last.shape) == ((32, 32, 3), (32, 32, 3), (1, 1, 3))
        assert (first == MAGENTA).all()
        assert (second == YELLOW).all()
    assert NONE.crop(PIXELS) == []
    empty = replace(three[:1], boxes=np.array([[5, 5, 5, 5]], np.float32))
    assert empty.crop(PIXELS)[0].shape == (1, 1, 3)
    outside = three[:1]
    assert [c.shape for c in replace(outside, boxes=outside.boxes + 500).crop(PIXELS)] == [(1, 1, 3)]


def test_a_plot_is_the_annotated_image(tmp_path: Path, detector: Detector) -> None:
    write_image(tmp_path / "a.png", PIXELS)
    results = [detector(PIXELS), detector(tmp_path / "a.png"), *detector.detect_many([PIXELS])]
    for result in results:
        drawn = result.plot()
        assert drawn.size == (96, 64)
        assert (np.asarray(drawn) != PIXELS).any()
        assert drawn.tobytes() == result.plot(PIXELS).tobytes()
    for spent in ((tmp_path / "a.png").read_bytes(), BytesIO((tmp_path / "a.png").read_bytes())):
        with pytest.raises(ValueError, match=re.escape("plot(image)")):
            detector(spent).plot()


def test_results_keep_no_pixels_in_memory(detector: Detector) -> None:
    pixels = PIXELS.copy()
    result = detector(pixels)
    assert result.image_size == (64, 96)
    assert "<img" in result._repr_html_()
    del pixels
    gc.collect()
    assert "<img" not in result._repr_html_()
    with pytest.raises(ValueError, match="no longer in memory"):
        result.plot()


def test_a_notebook_shows_image_and_table(tmp_path: Path, detector: Detector) -> None:
    path = tmp_path / "a.png"
    write_image(path, PIXELS)
    result = replace(detector(path), names=("<b>green", "blue"))
    html = result._repr_html_()
    encoded = re.search(r'src="data:image/jpeg;base64,([^"]+)"', html)
    assert encoded
    assert Image.open(BytesIO(base64.b64decode(encoded[1]))).size == (96, 64)
    assert "<td>&lt;b&gt;green</td>" in html
    assert "<b>" not in html
    path.unlink()
    assert "<img" not in result._repr_html_()
    with pytest.raises(ImageError):
        result.plot()
    assert "<p>0 objects</p>" in NONE._repr_html_()
    many = Detections(np.ones((25, 4), np.float32), np.ones(25, np.float32), np.zeros(25, np.int64), NAMES)
    assert many._repr_html_().count("<tr>") == 21
    assert "and 5 more" in many._repr_html_()


def test_tiles_know_the_size_of_the_whole_image(detector: Detector, tmp_path: Path) -> None:
    with Detector.open(tmp_path / "tiny.onnx", tiles=(1, 2)) as tiled:
        assert tiled(PIXELS).image_size == (64, 96)
