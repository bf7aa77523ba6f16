"""Inputs of a Detector are accepted, or rejected with a one-line error."""

import io
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lookonce.errors import ImageError
from lookonce.images import write_image
from lookonce.inputs import as_pixels
from lookonce.runtime.detector import Detector
from tests.tiny_onnx import YELLOW, image, write_tiny_model

PIXELS = image((64, 96), ((0, 0, 32, 32), YELLOW))


@pytest.fixture
def png(tmp_path: Path) -> Path:
    write_image(tmp_path / "a.png", PIXELS)
    return tmp_path / "a.png"


def test_every_kind_of_image_object_is_read(png: Path) -> None:
    data = png.read_bytes()
    pillow = Image.fromarray(PIXELS)
    with png.open("rb") as file:
        tensor = torch.from_numpy(PIXELS)
        arrays = (
            PIXELS,
            PIXELS[::-1][::-1],
            PIXELS / 255,
            PIXELS.transpose(2, 0, 1),
            np.dstack([PIXELS] * 2)[..., :4],
        )
        encoded = png, str(png), data, bytearray(data), memoryview(data), io.BytesIO(data), file
        tensors = tensor, tensor.permute(2, 0, 1) / 255, tensor.float().div(255).requires_grad_()
        taken: list[Any] = [*arrays, *encoded, *tensors, pillow, pillow.convert("RGBA"), Image.open(png)]
        for given in taken:
            found = as_pixels(given)
            np.testing.assert_array_equal(found, PIXELS)
            assert found.flags.c_contiguous


def test_gray_is_repeated_and_16_bits_are_scaled() -> None:
    gray = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for given in (
        gray,
        gray[:, :, None],
        Image.fromarray(gray),
        gray.astype(np.uint16) * 257,
        Image.fromarray(gray.astype(np.uint16) * 257),
        Image.fromarray(gray.astype(np.int32) * 257),
        Image.fromarray(gray.astype(np.float32) * 257),
    ):
        np.testing.assert_array_equal(as_pixels(given, (0, 65_535)), np.dstack([gray] * 3))


def test_a_pillow_image_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[274] = 6
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "PNG", exif=exif)
    np.testing.assert_array_equal(as_pixels(Image.open(buffer)), PIXELS.transpose(1, 0, 2)[:, ::-1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "found NoneType"),
        (3, "found int"),
        ({}, "found dict"),
        (io.StringIO("text"), "a file opened as bytes"),
        (b"", "empty"),
        (np.zeros((2, 64, 96, 3), np.uint8), "a batch is a list"),
        (np.zeros((0, 96, 3), np.uint8), "expected an RGB array"),
        (np.zeros((5, 6, 7), np.uint8), "expected an RGB array"),
        (np.zeros((8, 8, 3), np.int64), "of uint8 or of floats"),
        (np.full((8, 8, 3), 255.0), "floats from 0 to 1, found 255"),
        (np.full((8, 8, 3), -0.1), "floats from 0 to 1"),
        (np.full((8, 8, 3), np.nan), "floats from 0 to 1"),
        (np.array("text"), "expected an RGB array"),
    ],
)
def test_other_objects_are_refused(given: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        as_pixels(given)


def test_a_damaged_pillow_image_is_refused(png: Path) -> None:
    cut = png.read_bytes()[:-40]
    with pytest.raises(ImageError, match="expected a Pillow image that can be read"):
        as_pixels(Image.open(io.BytesIO(cut)))


def test_a_list_gives_a_list(tmp_path: Path, png: Path) -> None:
    with Detector.open(write_tiny_model(tmp_path / "tiny.onnx")) as detector:
        one = detector(png)
        assert [each.boxes.tolist() for each in detector([png, PIXELS])] == [one.boxes.tolist()] * 2
        assert detector([]) == []


def test_an_array_needs_no_loaded_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", ModuleType("PIL.Image"))  # partially loaded at that time

    assert as_pixels(np.zeros((4, 5, 3), np.uint8)).shape == (4, 5, 3)
