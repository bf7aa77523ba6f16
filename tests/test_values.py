"""Images of more than 8 bits: one range per data set, in the model, gives the same pixels at any depth."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from lookonce.eight_bits import as_eight_bits, in_use
from lookonce.errors import ImageError
from lookonce.images import read_image, read_image_header, read_native, write_image
from lookonce.values import measure_values

RANDOM = np.random.default_rng(0)
SCENE = RANDOM.integers(0, 256, (40, 60, 3), np.uint8)
SCENE[0, 0], SCENE[0, 1] = 0, 255  # has black and white pixels
Deepen = Callable[[NDArray[np.uint8]], NDArray[np.generic]]


def bits(count: int) -> Deepen:
    """Return the scene rounded to a number of bits."""
    return lambda scene: np.round(scene.astype(np.float64) * (2**count - 1) / 255).astype(np.uint16)


DEPTHS: dict[str, tuple[str, Deepen]] = {
    "8": (".png", lambda scene: scene),
    "10 in 16": (".png", bits(10)),
    "12 in 16": (".tiff", bits(12)),
    "14 in 16": (".png", bits(14)),
    "16": (".tiff", bits(16)),
    "fractions": (".tiff", lambda scene: (scene / 255).astype(np.float32)),
    "signed": (".tiff", lambda scene: scene.astype(np.int16)),
}


@pytest.mark.parametrize("depth", DEPTHS)
def test_one_scene_reads_the_same_at_every_depth(tmp_path: Path, depth: str) -> None:
    suffix, deepen = DEPTHS[depth]
    path = tmp_path / f"scene{suffix}"
    write_image(path, deepen(SCENE))
    assert read_image_header(path).is_deep is (depth != "8")
    np.testing.assert_allclose(read_image(path).astype(int), SCENE.astype(int), atol=1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_deep_files_are_read_in_rgb(tmp_path: Path, suffix: str, channels: int) -> None:
    """With IMREAD_COLOR_RGB, OpenCV returns unwritten memory for such TIFFs."""
    numbers = np.arange(40 * 60, dtype=np.uint16).reshape(40, 60)
    numbers = np.dstack([numbers, numbers + 7000, numbers + 20_000]) if channels == 3 else numbers
    encoded = cv2.imencode(suffix, numbers[..., ::-1] if channels == 3 else numbers)[1]
    (tmp_path / f"a{suffix}").write_bytes(encoded.tobytes())
    found = read_native(tmp_path / f"a{suffix}")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, numbers if channels == 3 else np.dstack([numbers] * 3))


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.array([0, 40], np.uint16), (0, 255)),
        (np.array([0, 1000], np.uint16), (0, 1023)),
        (np.array([0, 4095], np.uint16), (0, 4095)),
        (np.array([0, 4096], np.uint16), (0, 16383)),
        (np.array([0, 60_000], np.uint16), (0, 65535)),
        (np.array([7000] * 5 + [7400] * 5, np.uint16), (7000, 7400)),  # as from a thermal camera
        (np.array([-300] * 5 + [900] * 5, np.int16), (-300, 900)),
        (np.array([0.0, 0.5], np.float32), (0, 1)),
        (np.array([-40.0] * 5 + [90.0] * 5, np.float32), (-40, 90)),
        (np.array([np.nan, 0.0, 1.0, np.inf], np.float32), (0, 1)),
        (np.array([np.nan], np.float32), (0, 1)),
        (np.array([-9999] * 20 + [0.0, 0.5], np.float32), (0, 1)),  # a pixel without data in a map
        (np.array([-3.4e38] * 3 + [271.0] * 5 + [283.0] * 5, np.float32), (271, 283)),
        (np.array([-32768] * 20 + [0, 4000], np.int16), (0, 4095)),
        (np.array([-9999] * 5 + [900] * 5, np.int16), (-9999, 900)),  # the only value, so there is no range
        (np.full(9, 5000, np.uint16), (5000, 5001)),
        (np.zeros(9, np.uint16), (0, 1)),
    ],
)
def test_the_range_in_use_is_rounded_up_to_whole_bits(
    pixels: NDArray[np.generic], expected: tuple[float, float]
) -> None:
    assert in_use(pixels) == pytest.approx(expected)


def test_values_outside_the_range_are_clipped_and_nan_is_black() -> None:
    pixels = np.array([[-5.0, 0.0, 5.0, 10.0, 99.0, np.nan, np.inf, -np.inf]], np.float32)
    assert as_eight_bits(pixels, (0, 10)).tolist() == [[0, 0, 128, 255, 255, 0, 255, 0]]
    assert as_eight_bits(np.array([0, 50, 100, 200], np.uint16), (50, 100)).tolist() == [0, 0, 255, 255]


def test_a_set_has_one_range(tmp_path: Path) -> None:
    """A dark image stays dark beside a bright one."""
    paths = []
    for name, scale in (("dark", 1), ("bright", 12)):
        paths.append(tmp_path / f"{name}.png")
        write_image(paths[-1], SCENE.astype(np.uint16) * scale)
    write_image(tmp_path / "usual.png", SCENE)
    (tmp_path / "bad.png").write_bytes(b"no image")
    values, said = measure_values([*paths, tmp_path / "usual.png", tmp_path / "bad.png"])
    assert values == (0, 4095)
    assert said == "images of more than 8 bits: 0 to 4095 become 0 to 255 (measured on 2 of them)"
    assert read_image(paths[0], values).max() == 16
    assert measure_values(paths, (0, 1000)) == (
        (0, 1000),
        "images of more than 8 bits: 0 to 1000 become 0 to 255 (the model's range)",
    )
    assert measure_values([tmp_path / "usual.png"]) == (None, "")
    assert measure_values([]) == (None, "")


def test_deep_images_with_separate_planes_are_refused(tmp_path: Path) -> None:
    """OpenCV would mix up the planes."""
    path = tmp_path / "planes.tif"
    tifffile.imwrite(path, np.zeros((3, 40, 60), np.uint16), photometric="rgb", planarconfig="separate")
    with pytest.raises(ImageError, match="expected channels pixel by pixel"):
        read_image(path)


@pytest.mark.parametrize("largest", [255, 4095, 65535])
def test_portable_maps_of_every_depth_are_read(tmp_path: Path, largest: int) -> None:
    path = tmp_path / "a.ppm"
    numbers = np.round(SCENE / 255 * largest)
    path.write_bytes(
        b"P6\n# made here\n60 40\n%d\n" % largest + numbers.astype(">u2" if largest > 255 else "u1").tobytes()
    )
    np.testing.assert_allclose(read_image(path).astype(int), SCENE.astype(int), atol=1)


def test_a_damaged_image_does_not_count_for_the_range(tmp_path: Path) -> None:
    numbers = RANDOM.integers(0, 4096, (40, 60, 3)).astype(np.uint16)
    numbers[0, 0] = 0
    whole, damaged = tmp_path / "whole.png", tmp_path / "damaged.png"
    write_image(whole, numbers)
    coded = bytearray(whole.read_bytes())
    start = coded.index(b"IDAT") + 4
    coded[start : start + 36] = bytes(36)
    damaged.write_bytes(coded)
    assert measure_values([damaged]) == (None, "")
    values, line = measure_values([damaged, whole])
    assert values is not None
    assert "(measured on 1 of them)" in line
