"""Annotated videos by PyAV keep the sound and the frame times of the source. Skipped without PyAV."""

import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lookonce.errors import ImageError
from lookonce.runtime.clips import open_clip
from lookonce.runtime.timed_clips import TimedClipWriter
from lookonce.runtime.video import read_frames
from lookonce.runtime.video_checks import Moment
from tests.runtime.test_video import HEIGHT, WIDTH, bar, scene

av = pytest.importorskip("av")

TIMES = [0.0, 0.04, 0.12, 0.5, 0.54, 1.3]  # times of the frames in seconds, at a variable rate
BEEP = 0.5, 0.7  # start and end of the beep in seconds


def write_source(
    path: Path, *, sound: float | None = 2.0, codec: str = "mpeg4", coder: str = "aac", begin: float = 0
) -> Path:
    """Write a video of growing bars at `TIMES` + `begin`, with `sound` seconds of sound and a beep in it."""
    with av.open(str(path), "w") as out:
        picture = out.add_stream(codec, rate=25)
        picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        picture.codec_context.time_base = Fraction(1, 1000)
        stream = None
        if sound is not None:
            stream = out.add_stream(coder, rate=48_000)
            stream.layout = "mono"
        for number, second in enumerate(TIMES):
            frame = av.VideoFrame.from_ndarray(scene(number), "rgb24")
            frame.pts, frame.time_base = round(1000 * (second + begin)), Fraction(1, 1000)
            out.mux(picture.encode(frame))
        out.mux(picture.encode(None))
        if stream is not None and sound is not None:
            at = np.arange(int(48_000 * (sound + begin))) / 48_000
            loud = (at >= BEEP[0] + begin) & (at < BEEP[1] + begin)
            wave = (np.sin(2 * np.pi * 880 * at) * loud * 0.5).astype(np.float32)
            samples = av.AudioFrame.from_ndarray(wave[None], "fltp", "mono")
            samples.rate, samples.pts, samples.time_base = 48_000, 0, Fraction(1, 48_000)
            out.mux(stream.encode(samples))
            out.mux(stream.encode(None))
    return path


def annotated(source: Path, out: Path, *, frames: int | None = None) -> Path:
    """Write the frames of a source again, as `ImageWriter` does."""
    clip = None
    for image, moment in list(read_frames(source))[:frames]:
        clip = clip or open_clip(out, image.shape[:2], moment.rate, source)
        clip.add(image, moment)
    assert isinstance(clip, TimedClipWriter)
    assert not out.exists()
    clip.close(complete=frames is None)
    return out


def sound_of(path: Path) -> tuple[float, float, float]:
    """Return the start and end of the beep and the length of the sound, in seconds."""
    with av.open(str(path)) as given:
        frames = list(given.decode(audio=0))
    level = np.concatenate([np.abs(frame.to_ndarray()).mean(axis=0) for frame in frames])
    at = frames[0].time + np.arange(len(level)) / frames[0].rate
    loud = at[np.convolve(level, np.ones(480) / 480, "same") > 0.1]
    return float(loud[0]), float(loud[-1]), float(at[-1])


@pytest.mark.parametrize(
    ("name", "codec", "coder"),
    [
        ("a.mp4", "mpeg4", "aac"),
        ("a.mkv", "mpeg4", "libopus"),
        ("a.webm", "libvpx", "libopus"),
        ("a.mov", "mpeg4", "pcm_s16le"),
        ("a.ts", "mpeg4", "mp2"),
    ],
)
@pytest.mark.parametrize("begin", [0.0, 3.0])
def test_times_and_sound_are_kept(tmp_path: Path, name: str, codec: str, coder: str, begin: float) -> None:
    source = write_source(tmp_path / name, codec=codec, coder=coder, begin=begin)
    given = [moment.seconds for _, moment in read_frames(source)]

    frames = list(read_frames(annotated(source, tmp_path / "out.webm")))

    assert [bar(image) for image, _ in frames] == list(range(6))
    assert [moment.seconds for _, moment in frames] == pytest.approx(given, abs=2e-3)
    assert given == pytest.approx(TIMES, abs=0.05)
    first, last, length = sound_of(tmp_path / "out.webm")
    assert (first, last) == pytest.approx(BEEP, abs=0.05)
    assert length == pytest.approx(2.0, abs=0.1)  # longer than the frames, and not cut


def test_a_stopped_run_keeps_the_sound_of_its_frames(tmp_path: Path) -> None:
    source = write_source(tmp_path / "a.mp4")
    frames = list(read_frames(annotated(source, tmp_path / "out.webm", frames=5)))
    assert len(frames) == 5
    assert TIMES[4] < sound_of(tmp_path / "out.webm")[2] < TIMES[5]


def test_silent_sources_and_streams_give_silent_clips(tmp_path: Path) -> None:
    annotated(write_source(tmp_path / "a.mp4", sound=None), tmp_path / "out.webm")
    clip = open_clip(tmp_path / "stream.webm", (HEIGHT - 1, WIDTH - 3), 25.0, None)
    for number, second in enumerate([0.0, 1e9, 1e9 + 0.04, 1e9 + 0.04]):  # a damaged time, and one twice
        clip.add(scene(number)[: HEIGHT - 1, : WIDTH - 3], Moment(number, second, 25.0))
    clip.close()
    for name in ("out.webm", "stream.webm"):
        with av.open(str(tmp_path / name)) as given:
            assert [stream.type for stream in given.streams] == ["video"]
    frames = list(read_frames(tmp_path / "stream.webm"))
    assert [moment.seconds for _, moment in frames] == pytest.approx([0, 0.04, 0.08, 0.081], abs=2e-3)
    assert frames[0][0].shape == (HEIGHT, WIDTH - 2, 3)


def test_damaged_sound_loses_no_frame(tmp_path: Path) -> None:
    source = write_source(tmp_path / "a.mov")
    content = bytearray(source.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = bytes(400)
    source.write_bytes(content)
    assert len(list(read_frames(annotated(source, tmp_path / "out.webm")))) == 6


def test_a_clip_that_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"out\.webm: a video of 20000x20000 .* cannot be written there"):
        TimedClipWriter(tmp_path / "out.webm", (20_000, 20_000), 25.0)
    assert list(tmp_path.iterdir()) == []


def test_a_browser_plays_video_and_sound(tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs Chromium")
    from playwright.sync_api import sync_playwright

    annotated(write_source(tmp_path / "a.mp4"), tmp_path / "out.webm")
    (tmp_path / "page.html").write_text('<video src="out.webm" muted autoplay></video>')
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page()
        page.goto((tmp_path / "page.html").as_uri())
        ended = "document.querySelector('video').ended || document.querySelector('video').error"
        page.wait_for_function(ended, timeout=30_000)
        played = page.evaluate(
            "(() => {const v = document.querySelector('video');"
            "return [v.error && v.error.message, v.videoWidth, v.duration, v.webkitAudioDecodedByteCount]})()"
        )
        chromium.close()
    assert played == [None, WIDTH, pytest.approx(2.0, abs=0.1), pytest.approx(9000, abs=8500)]
