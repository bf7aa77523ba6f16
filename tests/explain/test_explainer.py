"""Opening an explainer, its options and errors, and the record of an image."""

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import lookonce
from lookonce import Detector
from lookonce._optional import install_line
from lookonce.errors import ConfigError, ImageError, ModelFileError
from lookonce.explain import Explainer, explain
from lookonce.explain.features import CHANNELS, LARGEST_TILE, tiles_of
from lookonce.images import read_image
from lookonce.metadata import OBJECTIVE
from tests.explain.conftest import NANO
from tests.explain.models import write_model


def test_explain_is_a_single_call(data: Path) -> None:
    found = explain(data / "darknet" / NANO, data / "photos" / "dog.jpg", size=(256, 384), conf=0.4, iou=0.3)

    assert {name for name, *_ in found.detections} == {"dog", "car"}
    assert found.input.target == (256, 384)
    assert [scale.grid for scale in found.scales] == [(16, 24), (8, 12)]
    assert set(found.nms.score_thresholds) == {0.4}
    assert found.nms.iou_threshold == 0.3
    assert found.features == ()
    assert found.truth is None
    assert found.model.endswith(NANO)


def test_explainer_takes_the_inputs_of_a_detector(nano: Explainer, data: Path) -> None:
    photo = data / "photos" / "dog.jpg"
    pixels = read_image(photo)
    expected = nano(pixels).detections
    for given in (
        str(photo),
        Image.fromarray(pixels),
        photo.read_bytes(),
        np.dstack([pixels, pixels[..., :1]]),
    ):
        found = nano(given).detections
        np.testing.assert_array_equal(found.boxes, expected.boxes)
        np.testing.assert_array_equal(found.scores, expected.scores)


def test_the_dog_photograph_has_its_known_objects(nano: Explainer, data: Path) -> None:
    found = nano(data / "photos" / "dog.jpg").detections

    assert [name for name, *_ in found] == ["dog", "car", "bicycle"]
    assert found.scores[0] > 0.9


def test_detections_are_close_to_the_torch_detector(tmp_path: Path) -> None:
    path, image = write_model(tmp_path), np.random.default_rng(2).integers(0, 256, (70, 60, 3), np.uint8)
    with Detector.open(path, conf=0.4) as detector:
        expected = detector(image)

    found = explain(path, image, conf=0.4).detections

    assert len(found) == len(expected) > 1
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-2)


def test_a_stretching_model_is_explained_stretched(tmp_path: Path) -> None:
    explainer = Explainer.open(write_model(tmp_path, fit="stretch"))

    assert explainer(np.zeros((50, 200, 3), np.uint8)).input.resized == explainer.size


def test_every_computing_layer_has_features(nano: Explainer, data: Path) -> None:
    found = nano(data / "photos" / "dog.jpg", features=True)
    by_layer = {each.layer: each for each in found.features}
    silent = {layer.index for layer in found.layers if layer.kind in ("yolo", "dropout")}
    silent |= {layer.index for layer in found.layers if layer.kind == "route" and len(layer.inputs) == 1}

    assert list(by_layer) == [layer.index for layer in found.layers if layer.index not in silent]
    assert sum(each.tiles.nbytes for each in found.features) < 3_000_000
    first = by_layer[0]
    assert first.tiles.shape == (CHANNELS, LARGEST_TILE, LARGEST_TILE)
    assert by_layer[68].tiles.shape == (CHANNELS, 10, 10)


def test_tiles_show_the_most_active_channels_from_black_to_white() -> None:
    rng = np.random.default_rng(0)
    output = rng.normal(size=(12, 6, 9)).astype(np.float32) * np.arange(12, dtype=np.float32)[:, None, None]

    found = tiles_of(7, output)

    assert found.channels == (4, 5, 6, 7, 8, 9, 10, 11)
    assert found.tiles.shape == (8, 6, 9)
    np.testing.assert_array_equal(found.low, output[4:].min(axis=(1, 2)))
    np.testing.assert_array_equal(found.high, output[4:].max(axis=(1, 2)))
    assert (found.tiles.min(axis=(1, 2)) == 0).all()
    assert (found.tiles.max(axis=(1, 2)) == 255).all()
    position = np.unravel_index(output[11].argmax(), output[11].shape)
    assert found.tiles[7][position] == 255


def test_a_flat_channel_is_black_and_a_wide_one_is_shrunk() -> None:
    found = tiles_of(0, np.full((2, 30, 104), 3.5, np.float32))

    assert found.tiles.shape == (2, 15, 52)
    assert not found.tiles.any()
    ramp = np.broadcast_to(np.arange(104, dtype=np.float32), (1, 104, 104))
    expected = cv2.resize(
        (ramp[0] / 103 * 255).round().astype(np.uint8), (52, 52), interpolation=cv2.INTER_AREA
    )
    np.testing.assert_array_equal(tiles_of(0, ramp).tiles[0], expected)


@pytest.mark.parametrize("size", [100, (96, 100), 0, (-32, 32)])
def test_sizes_that_are_no_multiples_of_the_stride_are_refused(
    size: int | tuple[int, int], data: Path
) -> None:
    with pytest.raises(ConfigError, match="size: expected multiples of 32, found"):
        Explainer.open(data / "darknet" / NANO, size=size)


@pytest.mark.parametrize("option", ["conf", "iou"])
def test_thresholds_out_of_range_are_refused(option: str, data: Path) -> None:
    with pytest.raises(ConfigError, match=f"{option}: expected a number from 0 to 1, found 1.5"):
        Explainer.open(data / "darknet" / NANO, **{option: 1.5})  # type: ignore[arg-type]


def test_unusable_images_are_refused(nano: Explainer, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="expected an RGB array"):
        nano(np.zeros((5, 5, 5, 3), np.uint8))
    with pytest.raises(ImageError, match="No such file"):
        nano(tmp_path / "none.jpg")


def test_a_missing_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no such file"):
        Explainer.open(tmp_path / "none.cfg")


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (
            {"loss": {"box": "area"}},
            "objective.loss.box: expected 'giou', 'diou' or 'ciou'",
        ),
        ({"los": {}}, "objective.los: expected loss, found no such setting"),
        ("giou", "expected training.objective: an object, found 'giou'"),
    ],
)
def test_a_damaged_objective_is_refused(objective: object, message: str, tmp_path: Path) -> None:
    model = write_model(tmp_path, training={OBJECTIVE: objective})

    told = re.escape(f"{model}: the model description is damaged: {message}")
    with pytest.raises(ModelFileError, match=told):
        Explainer.open(model)


def test_explainer_is_public() -> None:
    assert lookonce.Explainer is Explainer


def test_a_cfg_is_explained_without_torch(data: Path) -> None:
    code = f"""
import sys
sys.modules["torch"] = None
from pathlib import Path
import numpy as np
from lookonce import Explainer
from lookonce.samples import Sample
path = Path({str(data / "photos" / "dog.jpg")!r})
truth = Sample(path, np.array([[128, 208, 352, 540]], np.float32), np.array([16]))
found = Explainer.open({str(data / "darknet" / "yolo-fastest-1.1-xl.cfg")!r})(path, truth).truth
print(found.objects[0].verdict.stage, found.losses, found.why_no_losses)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == f"found None this needs the package 'torch': {install_line('train')}"
