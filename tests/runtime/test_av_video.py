"""The reader of PyAV: times, damaged data, and frames that OpenCV cannot convert. Skipped without PyAV."""

import re
import struct
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from lookonce.errors import ImageError
from lookonce.runtime.av_video import connected_by_av, read_by_av
from tests.mjpeg_server import SIZE, camera, free_port
from tests.runtime.test_video import HEIGHT, RATE, WIDTH, bar, scene, write_scenes

av = pytest.importorskip("av")


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "mp4v"), ("a.mkv", "mp4v"), ("a.avi", "MJPG")])
def test_frames_come_in_order_and_in_rgb(tmp_path: Path, name: str, codec: str) -> None:
    frames = list(read_by_av(write_scenes(tmp_path / name, codec, 9)))

    assert [bar(image) for image, _ in frames] == list(range(9))
    assert frames[0][0].shape == (HEIGHT, WIDTH, 3)
    assert frames[0][0].dtype == np.uint8
    assert frames[0][0].mean(axis=(0, 1)) == pytest.approx((200, 0, 0), abs=12)
    assert [moment.number for _, moment in frames] == list(range(9))
    assert [moment.seconds for _, moment in frames] == pytest.approx([n / RATE for n in range(9)], abs=2e-3)
    assert {moment.rate for _, moment in frames} == {RATE}


def test_interlaced_frames_are_converted() -> None:
    path = Path(__file__).parents[1] / "data" / "interlaced.mpg"  # MPEG-2 with moving red and blue bars
    assert [image.mean() for image, _ in read_by_av(path)] == pytest.approx([103] * 6, abs=5)


def test_times_come_from_the_frames_and_begin_at_0(tmp_path: Path) -> None:
    times = [3.0, 3.04, 3.12, 3.5, 4.8]
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, second in enumerate(times):
            frame = av.VideoFrame.from_ndarray(scene(number), "rgb24")
            frame.pts, frame.time_base = round(1000 * second), Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))

    found = [moment.seconds for _, moment in read_by_av(tmp_path / "a.mkv")]

    assert found == pytest.approx([second - 3 for second in times], abs=2e-3)


def test_time_advances_even_if_the_file_repeats_a_timestamp(tmp_path: Path) -> None:
    path = write_scenes(tmp_path / "a.mp4", "mp4v", 4)
    content = bytearray(path.read_bytes())
    at = content.index(b"stts") + 12  # ISO 14496-12 8.6.1.2: one entry, frames and ticks
    struct.pack_into(">II", content, at, 4, 0)
    path.write_bytes(content)

    frames = list(read_by_av(path))

    assert [bar(image) for image, _ in frames] == list(range(4))
    assert all(before.seconds < after.seconds for (_, before), (_, after) in pairwise(frames))


def test_damaged_data_is_an_error_after_the_frames_before_it(tmp_path: Path) -> None:
    path = write_scenes(tmp_path / "a.avi", "MJPG", 12)
    content = path.read_bytes()
    starts = [found.start() for found in re.finditer(b"00dc", content[: content.index(b"idx1")])]
    seventh = slice(starts[6] + 8, starts[7])
    path.write_bytes(content[: seventh.start] + bytes(seventh.stop - seventh.start) + content[seventh.stop :])
    seen: list[int] = []

    def collect() -> None:
        seen.extend(bar(image) for image, _ in read_by_av(path))

    with pytest.raises(ImageError, match=r"a\.avi: expected 12 frames, found [456]: the video is damaged"):
        collect()
    assert seen == list(range(len(seen)))
    assert 4 <= len(seen) <= 6  # the decoder may delay one or two frames


def test_a_stream_whose_frames_grow_too_large_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV would scale such frames to the size of the first one."""
    monkeypatch.setattr("lookonce.runtime.video_checks.MAX_FRAME", SIZE[0] * SIZE[1])
    url = f"http://127.0.0.1:{(port := free_port())}/grows"
    with (
        camera(port),
        connected_by_av(url) as connection,
        pytest.raises(ImageError, match=r"expected frames of at most 3,072 pixels .*found 96x128"),
    ):
        list(islice(connection.frames, 50))
