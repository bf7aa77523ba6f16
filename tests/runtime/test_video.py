"""Whole and damaged videos, which the tests write."""

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lookonce.errors import ImageError
from lookonce.runtime.opencv_video import count_frames
from lookonce.runtime.sources import Sources
from lookonce.runtime.video import VIDEO_SUFFIXES, is_video, read_frames
from tests.videos import write_video

HEIGHT, WIDTH, RATE = 48, 80, 12.5


def scene(number: int) -> np.ndarray:
    """Return a red image with a blue bar that grows by 4 columns per frame."""
    rgb = np.full((HEIGHT, WIDTH, 3), (200, 0, 0), np.uint8)
    rgb[:, : 4 * number] = (0, 0, 200)
    return rgb


def bar(rgb: np.ndarray) -> int:
    """Return the width of the bar in frames."""
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


def test_reading_is_lazy_and_can_be_closed(clip: Path) -> None:
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
def test_a_playlist_reads_no_other_file(tmp_path: Path, text: str, name: str) -> None:
    """FFmpeg would read the files in a playlist with any suffix it knows, from this folder or from `/`."""
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
def test_a_file_that_is_not_a_video_is_an_error(
    tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wrong.mp4"
    path.write_bytes(content)

    with pytest.raises(
        ImageError, match=r"wrong\.mp4: expected a video, found data that cannot be opened as one"
    ):
        next(read_frames(path))
    assert count_frames(path) == 0
    assert capfd.readouterr().err == ""  # reported once, by lookonce


def test_a_video_cut_short_gives_its_frames_then_an_error(tmp_path: Path) -> None:
    path = write_scenes(tmp_path / "cut.avi", "MJPG", 15)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    seen: list[Any] = []

    def collect() -> None:
        seen.extend(bar(image) for image, _ in read_frames(path))

    with pytest.raises(ImageError, match=r"cut\.avi: expected 15 frames, found \d+: the video is damaged"):
        collect()
    assert seen == list(range(len(seen)))
    assert 1 < len(seen) < 14


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
def test_videos_of_any_suffix_or_none_are_read(tmp_path: Path, name: str, codec: str) -> None:
    suffix = Path(name).suffix
    made = write_scenes(tmp_path / f"made{suffix if suffix not in ('', '.dat') else '.avi'}", codec, 6)
    path = made.rename(tmp_path / name)

    assert is_video(path)
    frames = list(read_frames(path))
    assert [bar(image) for image, _ in frames] == list(range(6))
    assert [moment.seconds for _, moment in frames] == pytest.approx([n / RATE for n in range(6)], abs=2e-3)


def test_other_files_are_not_taken_for_videos(tmp_path: Path) -> None:
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
    path.write_bytes(whole[: -4 - last].replace(b"filesize", b"filesizf"))  # a live recording has none
    assert len(list(read_frames(path))) in (14, 15)


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "b"])
def test_frames_are_bounded_before_they_are_decoded(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "a.avi", [np.full((48, 64, 3), 90, np.uint8)] * 3, 25, "MJPG")
    path = path.rename(tmp_path / name)
    monkeypatch.setattr("lookonce.runtime.video_checks.MAX_FRAME", 48 * 64)
    assert len(list(read_frames(path))) == 3
    monkeypatch.setattr("lookonce.runtime.video_checks.MAX_FRAME", 48 * 64 - 1)
    with pytest.raises(ImageError, match=rf"{name}: expected frames of at most 3,071 .*48x64; not decoded"):
        next(read_frames(path))


def test_the_page_lists_every_suffix() -> None:
    page = (Path(__file__).parents[2] / "docs" / "detect.md").read_text()
    assert f"(`{' '.join(VIDEO_SUFFIXES)}`)" in page


MATRICES = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


@pytest.mark.parametrize("clockwise", MATRICES)
def test_a_rotated_phone_video_is_upright(tmp_path: Path, clockwise: int) -> None:
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
