"""The Detector with a tiny ONNX network."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lookonce.detections import Detections
from lookonce.errors import ConfigError, ImageError, ModelFileError
from lookonce.geometry.boxes import pairwise_iou
from lookonce.images import read_image, write_image
from lookonce.runtime.detector import Detector
from lookonce.runtime.options import DetectOptions
from tests.tiny_onnx import INFO, MAGENTA, YELLOW, grained, image, write_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture
def detector(model: Path) -> Iterator[Detector]:
    with Detector.open(model, threads=1) as opened:
        yield opened


def found(detections: Detections) -> list[tuple[str, list[float]]]:
    return [(name, list(box)) for name, _, box in detections]


def test_boxes_are_in_pixels_of_the_image(detector: Detector) -> None:
    # 128 x 256 -> 48 x 96 inside 64 x 96: 8 rows of padding, scale 0.375; a cell is 85.33 pixels wide.
    two = image((128, 256), ((171, 64, 256, 128), YELLOW), ((0, 0, 86, 64), MAGENTA))

    assert detector.size == (64, 96)
    assert detector.names == ("green", "blue")
    result = sorted(found(detector(two)))
    assert [name for name, _ in result] == ["blue", "green"]
    np.testing.assert_allclose(result[0][1], [0, 0, 85.333, 64], atol=1e-3)
    np.testing.assert_allclose(result[1][1], [170.667, 64, 256, 128], atol=1e-3)


def test_stretch_comes_from_the_file_and_can_be_overridden(tmp_path: Path, model: Path) -> None:
    stretching = write_tiny_model(tmp_path / "stretch.onnx", info=replace(INFO, fit="stretch"))
    corner = image((128, 256), ((171, 64, 256, 128), YELLOW))
    full_cell = [pytest.approx(512 / 3, abs=1e-3), 64, 256, 128]

    assert found(Detector.open(stretching)(corner)) == [("green", full_cell)]
    assert found(Detector.open(model, fit="stretch")(corner)) == [("green", full_cell)]
    letterboxed = Detector.open(stretching, fit="letterbox", conf=0.4)(corner)
    assert letterboxed.scores[0] < 0.7  # a quarter of the cell is padding


def test_array_path_and_bytes_give_the_same_detections(detector: Detector, tmp_path: Path) -> None:
    rgb = image((64, 96), ((0, 0, 32, 32), MAGENTA), ((64, 32, 96, 64), YELLOW))
    path = tmp_path / "an image.png"
    write_image(path, rgb)

    results = [found(detector(pixels)) for pixels in (rgb, path, str(path), path.read_bytes())]

    assert results == [[("blue", [0, 0, 32, 32]), ("green", [64, 32, 96, 64])]] * 4


def test_options_select_detections(model: Path) -> None:
    # Objectness and class probability both decrease: scores 1, 0.6 * 0.8 and 0.6 * 0.8.
    rgb = image(
        (64, 96), ((0, 0, 32, 32), YELLOW), ((32, 0, 64, 32), (204, 204, 0)), ((64, 0, 96, 32), (204, 0, 204))
    )

    def detect(**options: object) -> list[str]:
        with Detector.open(model, **options) as opened:  # type: ignore[arg-type]
            return [name for name, _, _ in opened(rgb)]

    assert detect() == ["green", "green", "blue"]
    assert detect(conf=0.5) == ["green"]
    assert detect(classes=["blue"]) == ["blue"]
    assert detect(classes=[0]) == ["green", "green"]
    assert detect(classes=[]) == []


def test_soft_nms_keeps_second_boxes_with_a_lower_score(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path))
    cfg, photograph = data / "darknet" / "yolo-fastest-1.1-xl.cfg", data / "photos" / "horses.jpg"

    with (
        Detector.open(cfg, conf=0.1) as hard,
        Detector.open(cfg, conf=0.1, soft_nms=True) as soft,
    ):
        one, other = hard(photograph), soft(photograph)

    assert len(other) > len(one) > 1
    assert other.scores[0] == one.scores[0]
    assert (other.scores > 0.1).all()
    assert (np.diff(other.scores) <= 0).all()


def test_rect_leaves_out_padding_and_groups_equal_shapes(model: Path) -> None:
    # 192 x 192 is reduced to 96 x 96; 96 x 192 is reduced to 48 x 96 in 64 x 96, with 8 rows of padding.
    square = image((192, 192), ((64, 0, 128, 64), YELLOW))
    wide = image((96, 192), ((64, 48, 128, 96), MAGENTA))

    with Detector.open(model, size=96, rect=True, conf=0.1) as tight:
        shapes = recorded(tight)
        results = [found(each) for each in tight.detect_many([square, wide, square, wide], batch=3)]

    assert shapes == [(2, 96, 96, 3), (1, 64, 96, 3), (1, 64, 96, 3)]
    assert results[0] == results[2] == [("green", [64, 0, 128, 64])]
    assert results[1] == results[3] == [("blue", [64, 48, 128, 96])]


def recorded(detector: Detector) -> list[tuple[int, ...]]:
    """Record the shapes of the network's inputs from now on; return the growing list."""
    backend, shapes = detector._backend, []
    assert backend is not None

    class Recorder:
        info, input_shape, close = backend.info, backend.input_shape, backend.close

        def __call__(self, images: np.ndarray) -> np.ndarray:
            shapes.append(images.shape)
            return backend(images)

    detector._backend = Recorder()
    return shapes


def test_a_fixed_size_is_used_and_others_are_refused(tmp_path: Path) -> None:
    fixed = write_tiny_model(tmp_path / "fixed.onnx", replace(INFO, input_size=(96, 96)), ("batch", 64, 96))

    assert Detector.open(fixed).size == (64, 96)  # the size in the graph, not in the description
    assert Detector.open(fixed, size=(64, 96)).size == (64, 96)
    with pytest.raises(ConfigError, match=r"size: expected 64x96 \(height x width\).*, found 96x96"):
        Detector.open(fixed, size=96)
    with pytest.raises(ConfigError, match=r"rect: expected .* any height and width, .* fixed to 64x96"):
        Detector.open(fixed, rect=True)


def test_a_fixed_batch_is_filled_up(tmp_path: Path) -> None:
    fixed = write_tiny_model(tmp_path / "fixed.onnx", shape=(2, 64, 96))
    images = [image((64, 96), *[((0, 0, 32, 32), YELLOW)] * (number % 2)) for number in range(5)]

    with Detector.open(fixed) as detector:
        assert [len(each) for each in detector.detect_many(images)] == [0, 1, 0, 1, 0]
        assert len(detector(images[1])) == 1


def test_rect_needs_a_letterbox(tmp_path: Path, model: Path) -> None:
    stretching = write_tiny_model(tmp_path / "stretch.onnx", info=replace(INFO, fit="stretch"))

    for path, fit in ((stretching, None), (model, "stretch")):
        with pytest.raises(ConfigError, match=r"rect: leaves out the padding of a letterbox, .* stretched"):
            Detector.open(path, fit=fit, rect=True)  # type: ignore[arg-type]
    assert Detector.open(stretching, fit="letterbox", rect=True).options.rect


def test_rect_finds_the_same_on_real_photographs(
    data: Path, photographs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path))
    cfg = data / "darknet" / "yolo-fastest-1.1-xl.cfg"

    with (
        Detector.open(cfg, conf=0.5, threads=1, fit="letterbox") as square,
        Detector.open(cfg, conf=0.3, threads=1, fit="letterbox", rect=True) as tight,
    ):
        pairs = list(zip(map(square, photographs), tight.detect_many(photographs), strict=True))

    # Every object with a high score is found again: the network does not need the gray padding.
    assert sum(len(one) for one, _ in pairs) >= len(photographs)
    for one, other in pairs:
        assert (pairwise_iou(one.boxes, other.boxes) > 0.7).any(axis=1).all()


def test_a_large_jpeg_is_decoded_at_a_reduced_size(model: Path, tmp_path: Path) -> None:
    # 12 x 12 pixels per pixel of the input: an eighth of 768 x 1152 is just large enough for 64 x 96
    path = tmp_path / "large.jpg"
    flat = image((768, 1152), ((0, 0, 384, 384), YELLOW), ((768, 384, 1152, 768), MAGENTA))
    write_image(path, grained(flat))
    with (
        Detector.open(model, threads=1) as exact,
        Detector.open(model, threads=1, reduce_jpeg=True) as reducing,
    ):
        assert reducing.least_size((768, 1152)) == (64, 96)
        whole = exact(path)
        assert len(whole) == 2
        reduced = [reducing(path), reducing(path.read_bytes()), *reducing.detect_many([str(path)])]
        for each in reduced:
            assert each.image_size == (768, 1152)
            assert each.labels.tolist() == whole.labels.tolist()
            np.testing.assert_allclose(each.boxes, whole.boxes, atol=2)
            assert each.scores.tolist() != whole.scores.tolist()  # different pixels
        assert reducing(read_image(path)) == whole  # pixels in memory are never reduced
        small = image((64, 96), ((0, 0, 32, 32), YELLOW))
        write_image(tmp_path / "small.jpg", small)
        assert reducing(tmp_path / "small.jpg") == exact(tmp_path / "small.jpg")
    with pytest.raises(ConfigError, match="reduce_jpeg: expected no tiles"):
        DetectOptions(reduce_jpeg=True, tiles=(2, 2))


def test_any_multiple_of_32_is_a_valid_size(model: Path) -> None:
    rgb = image((64, 96), ((0, 0, 32, 32), YELLOW))

    assert Detector.open(model, size=(128, 192)).size == (128, 192)
    assert found(Detector.open(model, size=96)(rgb))[0][0] == "green"
    assert len(Detector.open(model, size=(128, 192))(rgb)) == 4  # an object covers four cells


def test_sides_must_fit_the_coarsest_scale(tmp_path: Path) -> None:
    # as in some Darknet models
    info = replace(INFO, anchors=INFO.anchors * 2, strides=(16, 64), input_size=(64, 128))
    model = write_tiny_model(tmp_path / "coarse.onnx", info)

    with pytest.raises(ConfigError, match="size: expected multiples of 64"):
        Detector.open(model, size=96)
    with Detector.open(model, rect=True) as detector:
        inputs = recorded(detector)
        detector(image((10, 128)))
    assert inputs == [(1, 64, 128, 3)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 100}, "size: expected multiples of 32 up to 8192, found 100x100"),
        ({"size": 41600}, "size: expected sides of 1 to 8192 pixels, found 41600"),
        ({"size": (320, -32)}, r"size: .* found \(320, -32\)"),
        ({"size": 0}, "size"),
        ({"conf": 1.5}, "conf: expected a number from 0 to 1, found 1.5"),
        ({"iou": float("nan")}, "iou: .* found nan"),
        ({"classes": ["red"]}, "classes: expected some of green, blue; found 'red'"),
        ({"classes": [2]}, "classes: .* found 2"),
        ({"classes": [-1]}, "classes: .* found -1"),
    ],
)
def test_wrong_options_are_named(model: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Detector.open(model, **options)  # type: ignore[arg-type]


def test_bad_files_are_named(detector: Detector, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"absent\.jpg"):
        detector(tmp_path / "absent.jpg")
    with pytest.raises(ImageError, match="image of 12 bytes"):
        detector(b"not an image")
    with pytest.raises(ModelFileError, match=r"absent\.onnx: no such file"):
        Detector.open(tmp_path / "absent.onnx")
    text = tmp_path / "model.txt"
    text.touch()
    with pytest.raises(ModelFileError, match=r"found suffix '\.txt'"):
        Detector.open(text)


def test_batches_are_lazy_and_in_order(detector: Detector) -> None:
    seen = []

    def images() -> Iterator[np.ndarray]:
        for number in range(7):
            seen.append(number)
            yield image((64, 96 + number), *[((0, 0, 32, 32), YELLOW)] * (number % 2))

    detector(image((64, 96)))  # after a batch of one, the buffer has to grow
    results = detector.detect_many(images(), batch=3)

    assert len(next(results)) == 0
    assert seen == [0, 1, 2]
    assert [len(result) for result in results] == [1, 0, 1, 0, 1, 0]
    assert list(detector.detect_many([])) == []
    with pytest.raises(ValueError, match="batch: expected 1 or more, found 0"):
        list(detector.detect_many(images(), batch=0))


def test_eight_threads_get_the_same_as_one(detector: Detector) -> None:
    rng = np.random.default_rng(0)
    images = [
        rng.choice([0, 255], (rng.integers(2, 9), rng.integers(2, 9), 3)).astype(np.uint8) for _ in range(96)
    ]
    images = [cv2.resize(p, None, fx=16, fy=16, interpolation=cv2.INTER_NEAREST) for p in images]
    alone = [detector(each) for each in images]

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(detector, images))

    assert sum(map(len, alone)) > 50
    for expected, result in zip(alone, together, strict=True):
        np.testing.assert_array_equal(result.boxes, expected.boxes)
        np.testing.assert_array_equal(result.scores, expected.scores)
        np.testing.assert_array_equal(result.labels, expected.labels)


def test_a_closed_detector_is_an_error(model: Path) -> None:
    detector = Detector.open(model, tiles=(1, 2))
    detector.warm_up()
    detector.close()
    detector.close()

    with pytest.raises(ValueError, match="this Detector was closed"):
        detector(image((64, 96)))
    with pytest.raises(ValueError, match="this Detector was closed"):
        next(detector.detect_many([image((64, 96))]))


def test_one_call_can_have_its_own_options(detector: Detector, model: Path) -> None:
    rgb = image((64, 96), ((0, 0, 32, 32), YELLOW), ((64, 0, 96, 32), (204, 0, 204)))
    everything = detector(rgb)

    assert [name for name, _, _ in everything] == ["green", "blue"]
    assert [name for name, _, _ in detector(rgb, conf=0.5)] == ["green"]
    assert [name for name, _, _ in detector(rgb, classes="blue")] == ["blue"]
    assert [name for name, _, _ in detector(rgb, classes=[0, 1])] == ["green", "blue"]
    assert len(detector(rgb, classes=[])) == 0
    assert [name for name, _, _ in detector(rgb, conf={"green": 1})] == ["blue"]
    with Detector.open(model, conf={"blue": 0.9}) as strict:
        assert [name for name, _, _ in strict(rgb, conf={"green": 1})] == []
        assert [name for name, _, _ in strict(rgb, conf={"blue": 0.4})] == ["green", "blue"]
    assert [len(each) for each in detector([rgb, rgb], conf=0.5)] == [1, 1]
    assert [len(each) for each in detector.detect_many([rgb], conf=0.5)] == [1]
    assert detector(rgb) == everything
    for wrong in ({"conf": 2.0}, {"iou": -1.0}, {"classes": "red"}):
        with pytest.raises(ConfigError, match=f"^{next(iter(wrong))}: expected"):
            detector(rgb, **wrong)  # type: ignore[arg-type]


def test_iou_of_one_call_applies_to_tiles(model: Path) -> None:
    rgb = image((64, 96), ((0, 0, 32, 32), YELLOW))
    with Detector.open(model, tiles=(1, 2), overlap=0.9, conf=0.1) as tiled:
        assert len(tiled(rgb, iou=1.0)) > len(tiled(rgb, iou=0.1))


def test_a_path_in_place_of_a_backend_points_to_open(model: Path) -> None:
    for path in (str(model), model):
        with pytest.raises(TypeError, match=r"Detector\.open\('.*tiny\.onnx'\)"):
            Detector(path)


def test_repr_names_model_and_engine(model: Path) -> None:
    detector = Detector.open(model)
    assert repr(detector) == f"Detector({model}: cells, 2 classes, 64x96, onnxruntime, float32)"
    detector.close()
    assert repr(detector) == f"Detector({model}: cells, 2 classes, 64x96, closed)"
    assert repr(Detector.open("coco")) == "Detector(coco: darknet, 80 classes, 320x320, onnxruntime, float32)"


def test_a_worse_box_does_not_replace_a_better_one_cut_off_by_its_tile() -> None:
    """At the border of a tile, the best box of an object ends at the border, and a worse box ends inside."""

    class AtTheBorder:
        info = INFO
        input_shape = (None, None, None)

        def __call__(self, images: np.ndarray) -> np.ndarray:
            found = np.zeros((len(images), 2, 7), np.float32)
            if images[0, 0, 0, 0] == 255:  # a tile with a white corner
                found[0] = [[40, 10, 64, 40, 0.9, 1, 0], [38, 10, 58, 40, 0.6, 1, 0]]
            return found

        def close(self) -> None: ...

    pixels = np.zeros((64, 104, 3), np.uint8)
    pixels[0, 0] = 255
    with Detector(AtTheBorder(), DetectOptions(tiles=64, overlap=0.3, size=64, fit="stretch")) as detector:
        found = detector(pixels)

    assert len(found) == 0


def test_the_first_result_needs_no_slow_import(model: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", image((64, 96)))
    program = """
import sys, cv2, numpy, onnxruntime
bare = set(sys.modules)
from lookonce import Detector
Detector.open(sys.argv[1])(sys.argv[2])
print(*set(sys.modules) - bare)
"""
    words = [sys.executable, "-c", program, str(model), str(tmp_path / "a.png")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "lookonce.runtime.detector" in loaded
    slow = {
        "http.client",
        "email.message",
        "ssl",
        "importlib.metadata",
        "numpy.random",
        "difflib",
        "tempfile",
    }
    assert not loaded & (slow | {"onnx", "PIL", "pydantic", "typer", "rich", "torch", "openvino"})
