"""Splitting a byte stream into whole JPEGs of every kind, however the bytes arrive."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookonce.errors import ImageError
from lookonce.runtime import stdin
from lookonce.runtime.stdin import split_images


def noise(seed: int, size: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


def jpeg(seed: int, *options: int) -> bytes:
    return cv2.imencode(".jpg", noise(seed), list(options))[1].tobytes()


def with_thumbnail(image: bytes) -> bytes:
    """Return a JPEG with a thumbnail inside a segment, as cameras write it."""
    inside = b"Exif\0\0" + jpeg(9)
    return image[:2] + b"\xff\xe1" + (len(inside) + 2).to_bytes(2) + inside + image[2:]


JPEGS = [
    jpeg(1),
    jpeg(2, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    jpeg(3, cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
    with_thumbnail(jpeg(4)),
    jpeg(5, cv2.IMWRITE_JPEG_QUALITY, 100),
]


def in_pieces(data: bytes, size: int) -> Callable[[], bytes]:
    pieces = iter([data[at : at + size] for at in range(0, len(data), size)])
    return lambda: next(pieces, b"")


@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_concatenated_jpegs_are_split(size: int) -> None:
    assert list(split_images(in_pieces(b"".join(JPEGS), size))) == JPEGS


@given(st.lists(st.sampled_from(JPEGS), min_size=1, max_size=5), st.integers(1, 3000))
def test_jpegs_between_other_bytes_are_split(series: list[bytes], size: int) -> None:
    between = b"\r\n--frame\r\nContent-Length: 5\r\n\r\n"  # as in a recorded multipart stream
    assert list(split_images(in_pieces(between.join(series), size))) == series


def test_a_jpeg_cut_short_is_passed_on_unchanged() -> None:
    cut = JPEGS[1][: len(JPEGS[1]) * 2 // 3]

    assert list(split_images(in_pieces(JPEGS[0] + cut, 100))) == [JPEGS[0], cut]


def test_anything_else_is_one_image() -> None:
    png = cv2.imencode(".png", noise(1))[1].tobytes()

    assert list(split_images(in_pieces(png, 100))) == [png]
    assert list(split_images(in_pieces(b"", 100))) == []
    assert list(split_images(in_pieces(b"\xff", 100))) == [b"\xff"]


@given(st.binary(max_size=300), st.integers(1, 50))
def test_splitting_any_bytes_terminates(data: bytes, size: int) -> None:
    pieces = list(split_images(in_pieces(b"\xff\xd8" + data, size)))

    assert sum(map(len, pieces)) <= len(data) + 2
    assert all(piece.startswith(b"\xff\xd8") for piece in pieces)


def test_an_endless_image_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdin, "LARGEST", 10_000)

    for start in (b"\xff\xd8\xff\xda\0\2", b"plain"):
        with pytest.raises(ImageError, match="expected images of at most 10,000 bytes"):
            list(split_images(in_pieces(start + bytes(20_000), 100)))


def detect_frames(sent: bytes) -> str:
    """Return the frames that another process reads from its standard input."""
    code = (
        "from lookonce.runtime.sources import Sources; s = Sources(['-']);"
        "[print(f.name, f.relative, f.image.shape, f.moment and f.moment.number) for f in s];"
        "print(*s.problems, sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_images_on_standard_input_are_read_and_bad_ones_numbered() -> None:
    assert detect_frames(JPEGS[0]) == "- stdin (24, 24, 3) None\n\n"
    broken = JPEGS[1][:300] + JPEGS[0]
    said = detect_frames(JPEGS[0] + JPEGS[3] + broken)
    assert said.startswith("- stdin (24, 24, 3) 0\n- stdin (24, 24, 3) 1\n")
    assert "- (image 2): " in said


def test_a_list_on_standard_input_is_read(tmp_path: Path) -> None:
    for name in ("a.jpg", "b c.jpg"):
        (tmp_path / name).write_bytes(JPEGS[0])
    code = "from lookonce.runtime.sources import Sources; print([f.name for f in Sources(['@-'])])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=os.linesep.join(["b c.jpg", "a.jpg", ""]),
        text=True,
        capture_output=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert done.stdout == "['b c.jpg', 'a.jpg']\n", done.stderr
