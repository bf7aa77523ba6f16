"""Videos that the test writes, whole and damaged."""

import struct
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lookonce.errors import ImageError
from lookonce.runtime.conversion import ConversionCheck
from lookonce.runtime.sources import Sources
from lookonce.runtime.video import (
    VIDEO_SUFFIXES,
    check_whole,
    count_frames,
    exact_frames,
    frames_of,
    is_video,
    name_of,
    rate_of,
    read_frames,
)
from tests.videos import write_video

HEIGHT, WIDTH, RATE = 48, 80, 12.5


def scene(number: int) -> np.ndarray:
    """A red image with a blue bar that grows by 4 columns a frame."""
    rgb = np.full((HEIGHT, WIDTH, 3), (200, 0, 0), np.uint8)
    rgb[:, : 4 * number] = (0, 0, 200)
    return rgb


def bar(rgb: np.ndarray) -> int:
    """The bar's width, in frames."""
    return round(float((rgb[:, :, 2] > 100).mean()) * WIDTH / 4)


def write_scenes(path: Path, codec: str, frames: int) -> Path:
    return write_video(path, map(scene, range(frames)), RATE, codec)


@pytest.fixture(scope="module", params=[("clip.mp4", "mp4v"), ("clip.avi", "MJPG"), ("a: clip.mkv", "mp4v")])
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    name, codec = request.param
    return write_scenes(tmp_path_factory.mktemp("video") / name, codec, 15)


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


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4", "list.avi", "list.txt", "list"])
@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {}\n",
        "ID3\4\0\0\0\0\0\0#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n",
    ],
)
def test_a_playlist_reads_no_file_that_nobody_named(tmp_path: Path, text: str, name: str) -> None:
    """FFmpeg follows one with any suffix that it knows, or in any file, from this folder or from `/`."""
    write_scenes(tmp_path / "secret.avi", "MJPG", 5)
    for target in ("secret.avi", tmp_path / "secret.avi", f"file://{tmp_path}/secret.avi", "/etc/passwd"):
        (tmp_path / name).write_text(text.format(target))
        with pytest.raises(ImageError, match="found a playlist or sound; name the videos themselves"):
            list(read_frames(tmp_path / name))
        sources = Sources([tmp_path / name])
        with pytest.raises(ImageError, match="found a playlist"):
            list(sources)
        assert sources.count() == 0


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", bytes(5000)])
def test_a_file_that_is_no_video(tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "wrong.mp4"
    path.write_bytes(content)

    with pytest.raises(
        ImageError, match=r"wrong\.mp4: expected a video, found data that cannot be opened as one"
    ):
        next(read_frames(path))
    assert count_frames(path) == 0
    assert capfd.readouterr().err == ""  # said once, by us


def test_a_video_cut_short_gives_its_frames_then_says_so(tmp_path: Path) -> None:
    path = write_scenes(tmp_path / "cut.avi", "MJPG", 15)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    seen: list[Any] = []

    def collect() -> None:
        seen.extend(bar(image) for image, _ in read_frames(path))

    with pytest.raises(ImageError, match=r"cut\.avi: expected 15 frames, found \d+: the video is damaged"):
        collect()
    assert seen == list(range(len(seen)))
    assert 1 < len(seen) < 14


def test_frame_numbers_are_exact_where_an_index_lists_them(tmp_path: Path) -> None:
    for name, codec in (("a.mp4", "mp4v"), ("b.avi", "MJPG"), ("c.mov", "mp4v"), ("d.3gp", "mp4v")):
        assert exact_frames(write_scenes(tmp_path / name, codec, 7)) == 7
    for name, codec in (("a.mkv", "mp4v"), ("b.webm", "VP80"), ("c.flv", "FLV1"), ("d.ts", "mp4v")):
        path = write_scenes(tmp_path / name, codec, 7)
        assert exact_frames(path) == 0
        assert count_frames(path) > 0


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.ts", "mp4v"),
        ("a.m2ts", "mp4v"),
        ("a.flv", "FLV1"),
        ("a.3gp", "mp4v"),
        ("a", "mp4v"),
        ("a.dat", "MJPG"),
    ],
)
def test_videos_of_every_suffix_and_of_none(tmp_path: Path, name: str, codec: str) -> None:
    suffix = Path(name).suffix
    made = write_scenes(tmp_path / f"made{suffix if suffix not in ('', '.dat') else '.avi'}", codec, 6)
    path = made.rename(tmp_path / name)

    assert is_video(path)
    frames = list(read_frames(path))
    assert [bar(image) for image, _ in frames] == list(range(6))
    assert [moment.seconds for _, moment in frames] == pytest.approx([n / RATE for n in range(6)], abs=2e-3)


def test_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "page.ts").write_text("export const a = 1")
    (tmp_path / "image").write_bytes(cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes())
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "empty").touch()
    assert not any(map(is_video, tmp_path.iterdir()))


@pytest.mark.parametrize(
    ("name", "codec", "what"),
    [
        ("cut.mkv", "MJPG", r"expected [\d,]+ bytes, found [\d,]+"),
        ("cut.webm", "VP80", r"expected [\d,]+ bytes, found [\d,]+"),
        ("cut.flv", "FLV1", r"expected [\d,]+ bytes, found [\d,]+|expected a whole tag"),
        ("cut.ts", "mp4v", "expected packets of 188 bytes, found part of one"),
        ("cut.m2ts", "mp4v", "expected packets of 192 bytes, found part of one"),
        ("cut.ogv", "VP80", "expected the end of the stream"),
        ("cut.wmv", "WMV2", r"expected [\d,]+ bytes, found [\d,]+"),
        ("cut.mp4", "mp4v", "data that cannot be opened as one|cut short"),
        ("cut.avi", "MJPG", r"expected 15 frames, found \d+|data that cannot be opened"),
    ],
)
def test_a_file_cut_short_is_noticed(tmp_path: Path, name: str, codec: str, what: str) -> None:
    path = write_scenes(tmp_path / name, codec, 15)
    assert len(list(read_frames(path))) == 15
    whole = path.read_bytes()
    for keep in (0.8, 0.6):
        path.write_bytes(whole[: int(keep * len(whole)) // 188 * 188 + 100])
        with pytest.raises(ImageError, match=rf"{name}: .*({what})"):
            list(read_frames(path))


def test_a_flash_video_without_its_last_tag_is_noticed(tmp_path: Path) -> None:
    path = write_scenes(tmp_path / "cut.flv", "FLV1", 15)
    whole = path.read_bytes()
    last = int.from_bytes(whole[-4:])
    path.write_bytes(whole[: -4 - last])
    with pytest.raises(ImageError, match=r"expected [\d,]+ bytes, found"):
        list(read_frames(path))
    path.write_bytes(whole[: -4 - last].replace(b"filesize", b"filesizf"))  # a live recording declares none
    assert len(list(read_frames(path))) in (14, 15)


def test_time_never_stands_still_and_absurd_rates_are_replaced() -> None:
    class Capture:
        """As OpenCV's, with the rates and times of a damaged file."""

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


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "b"])
def test_frames_are_bounded_before_they_are_decoded(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "a.avi", [np.full((48, 64, 3), 90, np.uint8)] * 3, 25, "MJPG")
    path = path.rename(tmp_path / name)
    monkeypatch.setattr("lookonce.runtime.video.MAX_FRAME", 48 * 64)
    assert len(list(read_frames(path))) == 3
    monkeypatch.setattr("lookonce.runtime.video.MAX_FRAME", 48 * 64 - 1)
    with pytest.raises(ImageError, match=rf"{name}: expected frames of at most 3,071 .*48x64; not decoded"):
        next(read_frames(path))


def test_interlaced_frames_are_right_or_an_error() -> None:
    path = Path(__file__).parents[1] / "data" / "interlaced.mpg"  # red and blue bars that move, MPEG-2
    if find_spec("av"):
        assert [image.mean() for image, _ in read_frames(path)] == pytest.approx([103] * 6, abs=5)
        return
    # unwritten memory may hold, by chance, an image that resembles the first frame
    with pytest.raises(
        ImageError, match=r"frame [01]: expected .* can convert, found an interlaced one; .*video"
    ):
        list(read_frames(path))


def test_unwritten_memory_with_a_few_bytes_of_something_else_is_no_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As OpenCV gives interlaced frames once a model was in the memory: black from first to last, nearly."""
    if find_spec("av"):
        pytest.skip("PyAV reads them")
    left = np.zeros((576, 720, 3), np.uint8)
    left[0, 8] = 113
    path = write_video(tmp_path / "a.mp4", [left] * 3, RATE)
    given = [(left, number / RATE) for number in range(20)]
    monkeypatch.setattr("lookonce.runtime.video.frames_of", lambda capture: iter(given))
    monkeypatch.setattr(ConversionCheck, "_luma", lambda self: left[..., 0])

    with pytest.raises(ImageError, match=r"frame 0: expected .* can convert, found an interlaced one"):
        next(read_frames(path))


def test_frames_after_a_black_beginning_keep_their_places(tmp_path: Path) -> None:
    black, gray = np.zeros((48, 80, 3), np.uint8), scene(4)
    path = write_video(tmp_path / "a.avi", [black] * 5 + [gray] * 3, RATE, "MJPG")  # stores black as 0
    frames = list(read_frames(path))
    assert [moment.number for _, moment in frames] == list(range(8))
    assert [image.max() > 100 for image, _ in frames] == [False] * 5 + [True] * 3


def test_black_and_still_videos_are_not_called_interlaced(tmp_path: Path) -> None:
    black, gray = np.zeros((48, 80, 3), np.uint8), scene(4)
    for number, frames in enumerate(([black] * 60, [gray] * 60, [black] * 55 + [gray] * 5)):
        for name, codec in (("a.mp4", "mp4v"), ("b.avi", "MJPG"), ("c.webm", "VP80")):
            path = write_video(tmp_path / f"{number}{name}", frames, RATE, codec)
            assert len(list(read_frames(path))) == 60


def test_the_password_of_a_stream_is_not_repeated() -> None:
    assert name_of("rtsp://user:secret@camera.local/live?x=1") == "rtsp://camera.local/live?x=1"
    assert name_of("rtsp://admin:Admin@123@cam/live") == "rtsp://cam/live"
    assert name_of("http://host/a@b") == "http://host/a@b"


@pytest.mark.parametrize(("declared", "found"), [(0, 1), (1, 1), (20, 19), (100, 95), (100, 120)])
def test_so_many_frames_are_whole(declared: int, found: int) -> None:
    check_whole("rtsp://cam/live", declared, found)


@pytest.mark.parametrize(("declared", "found"), [(0, 0), (20, 18), (100, 94)])
def test_so_few_frames_are_damage(declared: int, found: int) -> None:
    with pytest.raises(ImageError, match=f"expected {declared or 'some'} frames, found {found}"):
        check_whole("rtsp://cam/live", declared, found)


def test_the_page_lists_every_suffix() -> None:
    page = (Path(__file__).parents[2] / "docs" / "detect.md").read_text()
    assert f"(`{' '.join(VIDEO_SUFFIXES)}`)" in page


MATRICES = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


@pytest.mark.parametrize("clockwise", MATRICES)
def test_a_video_that_a_telephone_stored_lying_is_upright(tmp_path: Path, clockwise: int) -> None:
    path = write_scenes(tmp_path / "a.mp4", "mp4v", 5)
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44  # the track's matrix, ISO 14496-12 8.3.2
    a, b, c, d = (value << 16 for value in MATRICES[clockwise])
    struct.pack_into(">9i", content, at, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)

    frames = list(read_frames(path))

    assert len(frames) == 5
    for number, (image, _) in enumerate(frames):
        expected = np.rot90(scene(number), -clockwise // 90)
        assert image.shape == expected.shape
        assert np.abs(image.astype(int) - expected).mean() < 8
