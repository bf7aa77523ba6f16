"""Videos that the test writes, whole and damaged."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lookonce.errors import ImageError
from lookonce.runtime.video import ClipWriter, count_frames, name_of, read_frames

HEIGHT, WIDTH, RATE = 48, 80, 12.5


def scene(number: int) -> np.ndarray:
    """A red image with a blue bar that grows by 4 columns a frame."""
    rgb = np.full((HEIGHT, WIDTH, 3), (200, 0, 0), np.uint8)
    rgb[:, : 4 * number] = (0, 0, 200)
    return rgb


def bar(rgb: np.ndarray) -> int:
    """The bar's width, in frames."""
    return round(float((rgb[:, :, 2] > 100).mean()) * WIDTH / 4)


def write_video(path: Path, codec: str, frames: int) -> Path:
    """By OpenCV alone."""
    code = cv2.VideoWriter.fourcc(*codec)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, RATE, (WIDTH, HEIGHT))
    for number in range(frames):
        writer.write(cv2.cvtColor(scene(number), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


@pytest.fixture(scope="module", params=[("clip.mp4", "mp4v"), ("clip.avi", "MJPG"), ("a: clip.mkv", "mp4v")])
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    name, codec = request.param
    return write_video(tmp_path_factory.mktemp("video") / name, codec, 15)


def test_frames_come_in_order_upright_and_in_rgb(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clip.parent)
    frames = list(read_frames(Path(clip.name)))

    assert count_frames(clip) == 15
    assert [bar(image) for image, _ in frames] == list(range(15))
    assert frames[0][0].shape == (HEIGHT, WIDTH, 3)
    assert frames[0][0].mean(axis=(0, 1)) == pytest.approx((200, 0, 0), abs=12)
    assert [moment.number for _, moment in frames] == list(range(15))
    assert frames[-1][1].rate == RATE
    assert frames[-1][1].seconds == pytest.approx(14 / RATE)


def test_reading_is_lazy_and_lets_go(clip: Path) -> None:
    frames = read_frames(clip)

    assert bar(next(frames)[0]) == 0
    frames.close()


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", bytes(5000)])
def test_a_file_that_is_no_video(tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "wrong.mp4"
    path.write_bytes(content)

    with pytest.raises(ImageError, match=r"wrong\.mp4: expected a video, found nothing that opens as one"):
        next(read_frames(path))
    assert count_frames(path) == 0
    assert capfd.readouterr().err == ""  # said once, by us


def test_a_video_cut_short_gives_its_frames_then_says_so(tmp_path: Path) -> None:
    path = write_video(tmp_path / "cut.avi", "MJPG", 15)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    seen: list[Any] = []

    def collect() -> None:
        seen.extend(bar(image) for image, _ in read_frames(path))

    with pytest.raises(ImageError, match=r"cut\.avi: expected 15 frames, found \d+: the video is damaged"):
        collect()
    assert seen == list(range(len(seen)))
    assert 1 < len(seen) < 14


def test_the_password_of_a_stream_is_not_repeated() -> None:
    assert name_of("rtsp://user:secret@camera.local/live?x=1") == "rtsp://camera.local/live?x=1"
    assert name_of("http://host/a@b") == "http://host/a@b"


def test_a_written_clip_keeps_size_rate_and_length(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.mp4"
    writer = ClipWriter(path, (HEIGHT, WIDTH), RATE)
    for number in range(15):
        writer.add(scene(number))
    assert not path.exists()  # before it is whole
    writer.close()

    frames = list(read_frames(path))
    assert [bar(image) for image, _ in frames] == list(range(15))
    assert frames[0][0].shape == (HEIGHT, WIDTH, 3)
    assert frames[0][1].rate == RATE
    assert [entry.name for entry in path.parent.iterdir()] == ["out.mp4"]


def test_a_frame_of_another_size_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    writer = ClipWriter(path, (HEIGHT, WIDTH), RATE)
    for side in (1, 2):
        writer.add(np.zeros((HEIGHT * side, WIDTH * side, 3), np.uint8))
    writer.close()

    assert [image.shape for image, _ in read_frames(path)] == [(HEIGHT, WIDTH, 3)] * 2


def test_a_clip_that_was_not_written_whole_is_not_left(tmp_path: Path) -> None:
    writer = ClipWriter(tmp_path / "out.mp4", (HEIGHT, WIDTH), RATE)
    writer.add(scene(0))
    writer._writer.release()  # as when the disk is full: OpenCV drops what follows without a word
    writer.add(scene(1))

    with pytest.raises(ImageError, match=r"out\.mp4: expected 2 frames in the written file, found 1"):
        writer.close()
    assert list(tmp_path.iterdir()) == []


def test_a_size_that_the_codec_refuses(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"out\.mp4: a video of 1 x 1 cannot be written there"):
        ClipWriter(tmp_path / "out.mp4", (1, 1), RATE)
    assert list(tmp_path.iterdir()) == []
