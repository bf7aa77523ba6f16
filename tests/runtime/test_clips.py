"""Annotated videos: size, rate and times; a browser plays them."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from lookonce.errors import ImageError
from lookonce.runtime.clips import ClipWriter
from lookonce.runtime.video import read_frames
from lookonce.runtime.video_checks import Moment
from tests.runtime.test_video import HEIGHT, RATE, WIDTH, bar, scene


def write(
    path: Path, seconds: list[float], size: tuple[int, int] = (HEIGHT, WIDTH), rate: float = RATE
) -> Path:
    writer = ClipWriter(path, size, rate)
    for number, second in enumerate(seconds):
        writer.add(scene(number)[: size[0], : size[1]], Moment(number, second, rate))
    assert not path.exists()  # before the video is complete
    writer.close()
    return path


def test_size_rate_and_length_are_kept(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "new" / "out.webm", [number / RATE for number in range(15)])

    frames = list(read_frames(path))
    assert [bar(image) for image, _ in frames] == list(range(15))
    assert frames[0][0].shape == (HEIGHT, WIDTH, 3)
    assert frames[0][1].rate == RATE
    assert [entry.name for entry in path.parent.iterdir()] == ["out.webm"]
    assert capfd.readouterr().err == ""


def test_an_odd_side_is_padded_to_an_even_one(tmp_path: Path) -> None:
    frames = list(read_frames(write(tmp_path / "out.webm", [0.0], (HEIGHT - 1, WIDTH - 3))))
    assert frames[0][0].shape == (HEIGHT, WIDTH - 2, 3)
    assert frames[0][0][-1, -1].tolist() == pytest.approx([200, 0, 0], abs=16)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        ([0, 1, 2], [0, 0, 1, 1, 2]),  # half the declared rate: each frame is written twice
        ([5, 5.5, 6.5], [0, 1, 1, 2]),  # begins later, and has one gap
        ([0, 0.1, 0.2, 0.5, 1.0], [0, 3, 4]),  # faster than the rate
        ([0, 1e9, 1e9 + 0.5], [0, 1, 2]),  # a damaged time
    ],
)
def test_every_frame_is_shown_at_its_time(tmp_path: Path, seconds: list[float], shown: list[int]) -> None:
    frames = read_frames(write(tmp_path / "out.webm", seconds, rate=2.0))
    assert [bar(image) for image, _ in frames] == shown


def test_a_rate_of_1000_is_replaced(tmp_path: Path) -> None:
    frames = list(read_frames(write(tmp_path / "out.webm", [0, 0.04, 0.08], rate=1000.0)))
    assert len(frames) == 3
    assert frames[0][1].rate == 25.0


def test_a_frame_of_another_size_is_resized(tmp_path: Path) -> None:
    path = tmp_path / "out.webm"
    writer = ClipWriter(path, (HEIGHT, WIDTH), RATE)
    for side in (1, 2):
        writer.add(np.zeros((HEIGHT * side, WIDTH * side, 3), np.uint8), Moment(side, side / RATE, RATE))
    writer.close()

    assert [image.shape for image, _ in read_frames(path)] == [(HEIGHT, WIDTH, 3)] * 2


def test_an_incomplete_clip_is_deleted(tmp_path: Path) -> None:
    writer = ClipWriter(tmp_path / "out.webm", (HEIGHT, WIDTH), RATE)
    for number in range(3):
        writer.add(scene(number), Moment(number, number / RATE, RATE))
    writer._writer.release()  # as on a full disk, where OpenCV drops later frames silently
    for number in range(3, 60):
        writer.add(scene(number), Moment(number, number / RATE, RATE))

    with pytest.raises(ImageError, match=r"out\.webm: expected 60 frames in the written file, found \d+"):
        writer.close()
    assert list(tmp_path.iterdir()) == []


def test_a_size_that_the_codec_refuses_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"out\.webm: a video of 20000x20000 .* cannot be written there"):
        ClipWriter(tmp_path / "out.webm", (20_000, 20_000), RATE)
    assert list(tmp_path.iterdir()) == []


def test_a_browser_plays_the_clip(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs Chromium")
    from playwright.sync_api import sync_playwright

    write(tmp_path / "out.webm", [number / RATE for number in range(15)])
    (tmp_path / "page.html").write_text('<video src="out.webm" muted autoplay></video>')
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page()
        page.goto((tmp_path / "page.html").as_uri())
        ended = "document.querySelector('video').ended || document.querySelector('video').error"
        page.wait_for_function(ended, timeout=30_000)
        played = page.evaluate(
            "(() => {const v = document.querySelector('video');"
            "return [v.error && v.error.message, v.videoWidth, v.videoHeight, v.duration]})()"
        )
        chromium.close()
    assert played == [None, WIDTH, HEIGHT, pytest.approx(15 / RATE, abs=0.1)]
