import struct
from pathlib import Path

import numpy as np
import pytest

from lookonce.darknet.cfg import parse_cfg, read_cfg
from lookonce.darknet.network import ConvSpec
from lookonce.darknet.resolve import resolve
from lookonce.darknet.weights import check_weights, read_weights, write_weights
from lookonce.errors import ModelFileError
from tests.darknet.oracle import random_weights

# layer 0: 4 x 5 for batch normalization and 5 x 3 x 3 x 3; layer 2: 7 biases and 7 x 5
SPECS = [ConvSpec(0, 3, 3, 5, 3, 1, True), ConvSpec(2, 9, 5, 7, 1, 1, False)]
FIRST, ALL = 20 + 135, 20 + 135 + 7 + 35
HEADER = struct.pack("<3iq", 0, 2, 5, 12345678901)


def numbers(count: int) -> bytes:
    return np.arange(count, dtype="<f4").tobytes()


@pytest.mark.parametrize(
    ("header", "seen"),
    [
        (HEADER, 12345678901),
        (struct.pack("<3ii", 0, 1, 0, 4321), 4321),  # version 0.1: 32 bits
    ],
)
def test_arrays_are_read_in_file_order(tmp_path: Path, header: bytes, seen: int) -> None:
    file = tmp_path / "x.weights"
    file.write_bytes(header + numbers(ALL))

    head, (first, second) = read_weights(file, SPECS)

    assert head.seen == seen
    assert first.batch_norm is not None
    np.testing.assert_array_equal(first.bias, np.arange(0, 5))
    np.testing.assert_array_equal(first.batch_norm.gamma, np.arange(5, 10))
    np.testing.assert_array_equal(first.batch_norm.mean, np.arange(10, 15))
    np.testing.assert_array_equal(first.batch_norm.variance, np.arange(15, 20))
    np.testing.assert_array_equal(first.kernel, np.arange(20, FIRST).reshape(5, 3, 3, 3))
    assert second.batch_norm is None
    np.testing.assert_array_equal(second.bias, np.arange(FIRST, FIRST + 7))
    np.testing.assert_array_equal(second.kernel, np.arange(FIRST + 7, ALL).reshape(7, 5, 1, 1))


def test_arrays_share_one_buffer(tmp_path: Path) -> None:
    file = tmp_path / "x.weights"
    file.write_bytes(HEADER + numbers(ALL))

    arrays = [array for each in read_weights(file, SPECS)[1] for array in each.in_file_order()]

    def owner(array: np.ndarray) -> np.ndarray:
        return array if array.base is None else owner(array.base)

    assert len({id(owner(array)) for array in arrays}) == 1
    assert owner(arrays[0]).nbytes == 4 * ALL


@pytest.mark.parametrize("name", ["MobileNetV2-YOLOv3-Nano-coco", "yolo-fastest-1.1-xl"])
def test_real_weights_are_written_back_bit_for_bit(data: Path, tmp_path: Path, name: str) -> None:
    cfg = data / "darknet" / f"{name}.cfg"
    header, weights = read_weights(cfg.with_suffix(".weights"), resolve(read_cfg(cfg)).convolutions)

    write_weights(tmp_path / "copy.weights", weights, header.seen)

    original = cfg.with_suffix(".weights").read_bytes()
    assert header.version == (0, 2, 5)
    assert (tmp_path / "copy.weights").read_bytes() == struct.pack("<3i", 0, 2, 0) + original[12:]
    assert list(tmp_path.iterdir()) == [tmp_path / "copy.weights"]


def test_the_length_of_a_backbone_file_gives_its_layers(data: Path, tmp_path: Path) -> None:
    """A file like `darknet53.conv.74`, in which only the length shows the number of layers."""
    text = (data / "darknet" / "yolov3.cfg").read_text()
    specs = resolve(parse_cfg(text, "yolov3.cfg")).convolutions
    backbone = [spec for spec in specs if spec.layer < 75]
    file = tmp_path / "darknet53.conv.74"
    with file.open("wb") as sparse:  # only zeros
        sparse.write(HEADER)
        sparse.truncate(20 + 4 * sum(spec.numbers for spec in backbone))

    assert file.stat().st_size == 162_482_580  # the official file
    assert len(read_weights(file, specs, partial=True)[1]) == 52
    with pytest.raises(
        ModelFileError, match="holds the first 52 of 75 convolutions and ends before layer 75"
    ):
        read_weights(file, specs)


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER + numbers(ALL - 3), r"ran out in convolution 2 of 2, layer 2 \(line 9 of the .cfg\), "
         "which lacks 3 of its 42 numbers; the .cfg has 197, the file 194"),
        (HEADER + numbers(FIRST + 1), "convolution 2 of 2, layer 2 .*lacks 41 of its 42"),
        (HEADER + numbers(FIRST - 1), "convolution 1 of 2, layer 0 .*lacks 1 of its 155"),
        (HEADER, "convolution 1 of 2, layer 0 .*lacks 155 of its 155"),
        (HEADER + numbers(ALL + 2), "2 numbers too long: the .cfg has 197, the file 199"),
        (HEADER + numbers(ALL) + b"\0", "cut short or damaged"),
        (b"", "a header of 20 bytes, found a file of 0"),
        (b"<!DOCTYPE html><html><body>", "found a web page"),
        (b"\n\n  <html>" + b" " * 20, "found a web page"),
        (b"PK\x03\x04" + numbers(ALL), "expected Darknet weights of version 0.1 or 0.2, found 67324752.0"),
        (struct.pack("<3iq", 0, 3, 0, 0) + numbers(ALL), "found 0.3.0"),
    ],
)  # fmt: skip
def test_files_of_another_length_or_kind_are_refused(
    tmp_path: Path, content: bytes, message: str, partial: bool
) -> None:
    file = tmp_path / "x.weights"
    file.write_bytes(content)

    with pytest.raises(ModelFileError, match=message):
        read_weights(file, SPECS, partial=partial)


def test_partial_reading_ends_after_a_convolution(tmp_path: Path) -> None:
    file = tmp_path / "x.conv.1"
    file.write_bytes(HEADER + numbers(FIRST))

    assert len(read_weights(file, SPECS, partial=True)[1]) == 1
    with pytest.raises(ModelFileError, match="holds the first 1 of 2 convolutions and ends before layer 2"):
        read_weights(file, SPECS)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="cannot be read: No such file"):
        read_weights(tmp_path / "no.weights", SPECS)
    with pytest.raises(ModelFileError, match="expected a file, found a folder"):
        read_weights(tmp_path, SPECS)


@pytest.mark.parametrize(("place", "value"), [(4 * 5 + 1, np.nan), (1, np.inf), (15, -0.1), (-1, np.nan)])
def test_numbers_that_cannot_be_weights_are_refused(tmp_path: Path, place: int, value: float) -> None:
    content = np.ones(ALL, "<f4")
    file = tmp_path / "x.weights"
    file.write_bytes(HEADER + content.tobytes())
    check_weights(file, SPECS, read_weights(file, SPECS)[1])

    content[place] = value
    file.write_bytes(HEADER + content.tobytes())
    with pytest.raises(ModelFileError, match=f"layer {2 if place == -1 else 0} .*infinite, not a number"):
        check_weights(file, SPECS, read_weights(file, SPECS)[1])


def test_a_failed_write_leaves_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = resolve(parse_cfg("[net]\nwidth=32\nheight=32\n[convolutional]\nfilters=2\n[avgpool]", "x.cfg"))
    file = tmp_path / "x.weights"
    file.write_bytes(b"earlier")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_weights(file, random_weights(network))

    assert file.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [file]
