"""Places of tiles, the boxes in them that count, and the Detector with tiles."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookonce.detections import Detections
from lookonce.errors import ConfigError
from lookonce.geometry.boxes import pairwise_iou
from lookonce.images import read_image
from lookonce.runtime.detector import Detector
from lookonce.runtime.options import DetectOptions
from lookonce.runtime.tiles import Tiling, Window, join, parse_tiles
from tests.tiny_onnx import INFO, MAGENTA, YELLOW, image, write_tiny_model

WHOLE = Window(0, 0, 200, 100)


def test_a_grid_matches_hand_computed_windows() -> None:
    # Two columns that overlap by a quarter: 2 x 120 - 30 = 210; one row has the height of the image.
    assert Tiling((1, 2), overlap=0.25).windows((100, 210)) == [
        Window(0, 0, 210, 100),
        Window(0, 0, 120, 100),
        Window(90, 0, 210, 100),
    ]


def test_squares_match_hand_computed_windows() -> None:
    # With steps of 80, tiles at 0, 80 and 160 would end at 260, so they are moved together.
    windows = Tiling(100, overlap=0.2).windows((100, 250))

    assert windows[1:] == [Window(0, 0, 100, 100), Window(75, 0, 175, 100), Window(150, 0, 250, 100)]


def test_an_image_no_larger_than_a_tile_is_detected_once() -> None:
    assert Tiling(640).windows((480, 640)) == [Window(0, 0, 640, 480)]
    assert Tiling((1, 1)).windows((480, 640)) == [Window(0, 0, 640, 480)]


@given(
    size=st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    tiles=st.integers(32, 1500) | st.tuples(st.integers(1, 6), st.integers(1, 6)),
    overlap=st.floats(0, 0.9),
)
def test_tiles_are_inside_cover_every_pixel_and_overlap_as_requested(
    size: tuple[int, int], tiles: int | tuple[int, int], overlap: float
) -> None:
    height, width = size
    whole, *windows = Tiling(tiles, overlap).windows(size)
    windows = windows[:2000]
    covered = np.zeros(width, bool)
    for window in windows:
        assert 0 <= window.left < window.right <= width
        assert 0 <= window.top < window.bottom <= height
        covered[window.left : window.right] = True
        if isinstance(tiles, int):
            assert window.right - window.left == min(tiles, width)
            assert window.bottom - window.top == min(tiles, height)

    assert whole == Window(0, 0, width, height)
    if not windows:
        return
    columns = sorted({(window.left, window.right) for window in windows})
    if len(windows) < 2000:
        assert covered.all()
    for (_, right), (left, end) in pairwise(columns):
        assert right - left >= overlap * (end - left) - 1.5  # ends and starts are whole pixels


@pytest.mark.parametrize(("text", "tiles"), [("640", 640), ("2x3", (2, 3)), ("2X3", (2, 3))])
def test_tiles_are_parsed_from_text(text: str, tiles: int | tuple[int, int]) -> None:
    assert parse_tiles(text) == tiles


@pytest.mark.parametrize("text", ["", "x", "2x", "-640", "2x3x4", "1.5", "two"])
def test_text_that_is_not_a_tiling_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="tiles: expected rows x columns such as 2x3, or a side"):
        parse_tiles(text)


@pytest.mark.parametrize(
    ("tiles", "overlap", "message"),
    [
        (2, 0.2, "tiles: expected a side of 32 pixels or more, found 2; .* such as 2x2"),
        ((0, 3), 0.2, r"tiles: expected one row and column or more, found \(0, 3\)"),
        ((640, 640), 0.2, r"tiles: expected at most 100 .* \(640, 640\); a side in pixels is one number"),
        (640, 1.0, "overlap: expected a number from 0 to 0.9, found 1.0"),
        (640, float("nan"), "overlap"),
    ],
)
def test_impossible_tilings_are_refused(tiles: int | tuple[int, int], overlap: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Tiling(tiles, overlap)


def part(*boxes: tuple[float, float, float, float]) -> Detections:
    n = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(n, 4), np.full(n, 0.5, np.float32), np.zeros(n, np.int64)
    )


def test_joining_no_boxes_gives_no_boxes() -> None:
    assert join([part(), part()], [WHOLE, Window(0, 0, 120, 100)]).boxes.shape == (0, 4)


def test_boxes_are_shifted_and_cut_ones_dropped() -> None:
    left, right = Window(0, 0, 120, 100), Window(80, 0, 200, 100)

    joined = join(
        [
            part((0, 0, 200, 100)),  # the whole image has no inner border
            part((0, 0, 30, 100), (90, 10, 119.5, 20), (90, 10, 110, 20)),
            part((0, 10, 9, 20), (5, 10, 120, 100)),
        ],
        [WHOLE, left, right],
    )

    # Dropped: boxes that end at the right side of the left tile, or begin at the left side of the right tile.
    assert joined.boxes.tolist() == [[0, 0, 200, 100], [0, 0, 30, 100], [90, 10, 110, 20], [85, 10, 200, 100]]


def test_a_cut_box_is_dropped_if_another_tile_has_the_whole_object() -> None:
    """The box of a cut object ends 3 pixels before the border of a tile of 200; see benchmarks/large.md."""
    image, left, right = Window(0, 0, 360, 200), Window(0, 0, 200, 200), Window(160, 0, 360, 200)
    half, whole = (150, 50, 197, 90), (10, 50, 80, 92)  # in the left tile, and in the right one

    assert join([part(), part(half), part(whole)], [image, left, right]).boxes.tolist() == [
        [170, 50, 240, 92]
    ]
    alone = join([part(), part(half), part()], [image, left, right])
    assert alone.boxes.tolist() == [list(half)]
    elsewhere = join([part(), part(half), part((20, 100, 80, 140))], [image, left, right])
    assert len(elsewhere) == 2
    of_two_classes = replace(part(whole), labels=np.ones(1, np.int64))
    assert len(join([part(), part(half), of_two_classes], [image, left, right])) == 2
    both_near = join([part(), part(half), part((2, 50, 30, 90))], [image, left, right])
    assert len(both_near) == 2  # neither is whole, so neither shows that the other is cut


def test_boxes_cut_at_horizontal_borders_are_dropped() -> None:
    joined = join([part(), part((5, 0, 9, 20), (5, 20, 9, 60))], [WHOLE, Window(0, 40, 200, 100)])

    assert joined.boxes.tolist() == [[5, 60, 9, 100]]


def test_objects_too_small_in_the_whole_image_are_found_in_tiles(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny.onnx")
    # In the whole a cell of the network is 96 pixels wide, so that these are a faint part of it. Each lies in
    # the middle of one tile, and at an inner border of those around.
    large = image((288, 320), ((32, 64, 64, 96), YELLOW), ((256, 224, 288, 256), MAGENTA))

    with (
        Detector.open(model, size=96) as plain,
        Detector.open(model, size=96, tiles=96, overlap=2 / 3, iou=1) as tiled,
    ):
        assert len(plain(large)) == 0
        found = tiled(large)

    assert dict(zip(found.labels.tolist(), found.boxes.tolist(), strict=True)) == {
        0: [32, 64, 64, 96],
        1: [256, 224, 288, 256],
    }
    assert len(found) == 2  # although no box was suppressed


def test_batches_of_tiles_are_bounded_and_images_keep_their_order(tmp_path: Path) -> None:
    seen: list[int] = []

    class Counting:
        info = INFO
        input_shape = (None, None, None)

        def __call__(self, images: np.ndarray) -> np.ndarray:
            seen.append(len(images))
            return np.zeros((len(images), 6, 7), np.float32)

        def close(self) -> None: ...

    detector = Detector(Counting(), DetectOptions(tiles=64))
    assert [len(found) for found in detector.detect_many([image((300, 400))] * 2, batch=5)] == [0, 0]
    assert max(seen) == 5
    assert sum(seen) == 2 * (1 + 6 * 8)


def test_tiles_find_more_in_a_real_photograph(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With tiles, more distant kites are found, and no object that is found in the whole image is lost."""
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path))
    model = data / "darknet" / "yolo-fastest-1.1-xl.cfg"
    photograph = read_image(data / "photos" / "kite.jpg")

    with Detector.open(model, conf=0.4, threads=1) as plain:
        whole = plain(photograph)
    with Detector.open(model, conf=0.4, threads=1, tiles=(2, 3)) as tiled:
        parts = tiled(photograph)

    assert len(parts) > len(whole)
    same = pairwise_iou(whole.boxes, parts.boxes) > 0.45
    assert (same & (whole.labels[:, None] == parts.labels)).any(axis=1).all()
