"""The reader of OpenCV: numbers of frames, their times, and frames that it cannot convert."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from lookonce.errors import ImageError
from lookonce.runtime.conversion import ConversionCheck
from lookonce.runtime.opencv_video import count_frames, exact_frames, frames_of, rate_of, read_by_opencv
from tests.runtime.test_video import RATE, scene, write_scenes
from tests.videos import write_video


def test_frame_counts_are_exact_if_the_file_has_an_index(tmp_path: Path) -> None:
    for name, codec in (("a.mp4", "mp4v"), ("b.avi", "MJPG"), ("c.mov", "mp4v"), ("d.3gp", "mp4v")):
        assert exact_frames(write_scenes(tmp_path / name, codec, 7)) == 7
    for name, codec in (("a.mkv", "mp4v"), ("b.webm", "VP80"), ("c.flv", "FLV1"), ("d.ts", "mp4v")):
        path = write_scenes(tmp_path / name, codec, 7)
        assert exact_frames(path) == 0
        assert count_frames(path) > 0


def test_time_never_stands_still_and_absurd_rates_are_replaced() -> None:
    class Capture:
        """Stands in for `cv2.VideoCapture`, with the rates and times of a damaged file."""

        def __init__(self, rate: float, times: list[float]) -> None:
            self.rate, self.times, self.at = rate, times, -1

        def get(self, setting: int) -> float:
            return self.rate if setting == cv2.CAP_PROP_FPS else self.times[self.at]

        def read(self) -> tuple[bool, np.ndarray]:
            self.at += 1
            return self.at < len(self.times), np.zeros((2, 2, 3), np.uint8)

    def seconds(rate: float, times: list[float]) -> list[float]:
        return [second for _, second in frames_of(Capture(rate, times))]  # type: ignore[arg-type]

    assert seconds(10.0, [0, 100, 250, 0, 0]) == pytest.approx([0, 0.1, 0.25, 0.35, 0.45])
    assert seconds(2**-32, [0, 2**42, 2**43]) == pytest.approx([0, 0.04, 0.08])
    for rate, expected in (
        (1 / 3600, 1 / 3600),
        (1 / 3601, 25.0),
        (1000.0, 1000.0),
        (1001.0, 25.0),
        (0.0, 25.0),
    ):
        assert rate_of(Capture(rate, [])) == expected  # type: ignore[arg-type]


def test_interlaced_frames_are_an_error() -> None:
    path = Path(__file__).parents[1] / "data" / "interlaced.mpg"  # MPEG-2 with moving red and blue bars
    # unwritten memory may by chance contain an image that resembles the first frame
    with pytest.raises(
        ImageError, match=r"frame [01]: expected .* can convert, found an interlaced one; .*video"
    ):
        list(read_by_opencv(path))


def test_a_frame_of_unwritten_memory_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV returns such interlaced frames if the memory was used by a model: almost completely black."""
    left = np.zeros((576, 720, 3), np.uint8)
    left[0, 8] = 113
    path = write_video(tmp_path / "a.mp4", [left] * 3, RATE)
    given = [(left, number / RATE) for number in range(20)]
    monkeypatch.setattr("lookonce.runtime.opencv_video.frames_of", lambda capture: iter(given))
    monkeypatch.setattr(ConversionCheck, "_luma", lambda self: left[..., 0])

    with pytest.raises(ImageError, match=r"frame 0: expected .* can convert, found an interlaced one"):
        next(read_by_opencv(path))


def test_frames_after_a_black_beginning_keep_their_numbers(tmp_path: Path) -> None:
    black, gray = np.zeros((48, 80, 3), np.uint8), scene(4)
    path = write_video(tmp_path / "a.avi", [black] * 5 + [gray] * 3, RATE, "MJPG")  # stores black as 0
    frames = list(read_by_opencv(path))
    assert [moment.number for _, moment in frames] == list(range(8))
    assert [image.max() > 100 for image, _ in frames] == [False] * 5 + [True] * 3


def test_black_and_still_videos_are_not_taken_for_interlaced(tmp_path: Path) -> None:
    black, gray = np.zeros((48, 80, 3), np.uint8), scene(4)
    for number, frames in enumerate(([black] * 60, [gray] * 60, [black] * 55 + [gray] * 5)):
        for name, codec in (("a.mp4", "mp4v"), ("b.avi", "MJPG"), ("c.webm", "VP80")):
            path = write_video(tmp_path / f"{number}{name}", frames, RATE, codec)
            assert len(list(read_by_opencv(path))) == 60
