"""Files of a source, and the handling of bad files."""

import os
import socket
import struct
import sys
import time
import weakref
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Barrier, Lock, Thread

import cv2
import numpy as np
import pytest
from PIL import Image

from lookonce.errors import ImageError, SourceError
from lookonce.images import ReducedImage, read_image, write_image
from lookonce.runtime import pipeline
from lookonce.runtime import sources as sources_module
from lookonce.runtime.pipeline import Parallel
from lookonce.runtime.sources import Frame, Reading, Sources
from lookonce.runtime.video_checks import Moment
from lookonce.samples import Problem
from lookonce.tiff import LargeImage, tiff_pages
from tests import file_server
from tests.mjpeg_server import free_port
from tests.tiffs import write_tiff


def write_gray(path: Path, gray: int = 100) -> Path:
    write_image(path, np.full((8, 12, 3), gray, np.uint8))
    return path


def write_video(path: Path, frames: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (32, 16))
    for number in range(frames):
        writer.write(np.full((16, 32, 3), 10 * number, np.uint8))
    writer.release()
    return path


@pytest.fixture
def album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make folders of images with difficult names, and change to the outer folder."""
    for number, name in enumerate(
        ("b.png", "a.JPG", "c [1].png", "über all.webp", "more/a.png", "more/deep/b.png")
    ):
        write_gray(tmp_path / name, 20 * number)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._b.png").write_bytes(b"what macOS leaves beside an image")
    (tmp_path / "empty").mkdir()
    lines = ["more/deep/b.png", "", "more", "gone.png", "http://host/live"]
    (tmp_path / "list.txt").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    (tmp_path / "blank.txt").write_text(" \n")
    (tmp_path / "nul.list").write_bytes(b"b.png\0a.JPG\0")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\x00")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["b.png"], ["b.png"]),
        (["."], ["a.JPG", "b.png", "c [1].png", "über all.webp"]),
        (["*.png"], ["b.png", "c [1].png"]),
        (["c [1].png"], ["c [1].png"]),  # an existing file takes precedence over a pattern
        (["**/*.png"], ["b.png", "c [1].png", "more/a.png", "more/deep/b.png"]),
        (["more", "b.png"], ["more/a.png", "b.png"]),  # in the order given
        (["b.png", "./b.png", "more/../b.png"], ["b.png"]),
        (["0"], ["0"]),
        (["rtsp://somewhere/live"], ["rtsp://somewhere/live"]),
        (["-", "b.png", "-"], ["-", "b.png"]),
        (["@list.txt", "*.JPG"], ["more/deep/b.png", "more/a.png", "gone.png", "http://host/live", "a.JPG"]),
    ],
)
def test_a_source_stands_for_its_files(album: Path, sources: list[str], expected: list[str]) -> None:
    assert [str(origin) for origin in Sources(sources).origins] == expected


def test_a_camera_is_a_number_unless_a_file_has_that_name(album: Path) -> None:
    assert Sources(["7"]).origins == [7]
    (album / "7").touch()
    assert Sources(["7"]).origins == [Path("7")]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("absent.jpg", "absent.jpg: expected a file, folder, pattern, camera number or URL, found no such"),
        ("empty", "empty: expected images or videos directly in this folder, found none among 0 entries"),
        ("*.gif", r"\*\.gif: expected a pattern that matches images or videos, found none among 0"),
        ("*.txt", "found none among 4 entries"),
        ("@absent.txt", "absent.txt: cannot be read: No such file"),
        ("@bytes.txt", "bytes.txt: expected UTF-8 text, found the byte 0xff"),
        ("@blank.txt", "@blank.txt: expected a path in each line, found an empty list"),
        ("@nul.list", "@nul.list: expected a path in each line, found NUL bytes"),
    ],
)
def test_a_source_without_images_is_an_error(album: Path, source: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        Sources(["b.png", source])


@pytest.mark.parametrize("source", ["-", "@-"])
def test_closed_standard_input_is_an_error(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SourceError, match=f"{source}: expected data on standard input, found it closed"):
        Sources([source])


def test_images_become_frames(album: Path) -> None:
    frames = list(Sources(["more", "b.png"]))

    assert [frame.name for frame in frames] == [str(Path("more/a.png")), "b.png"]
    assert [frame.relative for frame in frames] == [Path("more/a.png"), Path("b.png")]
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [80, 0]
    assert frames[0].image.shape == (8, 12, 3)
    assert frames[0].path == Path("more/a.png")
    assert frames[0].moment is None


def test_equal_names_keep_their_folders(tmp_path: Path) -> None:
    for folder in ("one/x", "two/x"):
        write_gray(tmp_path / folder / "1.png")

    frames = list(Sources([tmp_path / "one" / "x", tmp_path / "two" / "x"]))

    assert [frame.relative for frame in frames] == [Path("one/x/1.png"), Path("two/x/1.png")]


def test_a_link_keeps_its_own_name(album: Path) -> None:
    (album / "link.png").symlink_to(album / "more" / "a.png")

    assert [frame.relative for frame in Sources(["link.png", "more/a.png"])] == [
        Path("link.png"),
        Path("more/a.png"),
    ]


def test_images_and_videos_can_be_mixed(album: Path) -> None:
    write_video(album / "more" / "clip.avi", 3)
    sources = Sources(["more"])

    frames = list(sources)

    assert sources.count() == 4
    assert [frame.relative.name for frame in frames] == ["a.png", "clip.avi", "clip.avi", "clip.avi"]
    moments = [frame.moment for frame in frames]
    assert moments[0] is None
    assert [moment.number for moment in moments[1:] if moment] == [0, 1, 2]
    assert frames[3].image.shape == (16, 32, 3)
    assert frames[3].name == str(Path("more/clip.avi"))
    assert frames[3].path == Path("more/clip.avi")
    assert sources.problems == []


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        pass


@contextmanager
def serving(handler: Callable[..., QuietHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serve `tmp_path` over HTTP."""
    with serving(partial(QuietHandler, directory=tmp_path)) as address:
        yield address


def test_a_stream_has_a_name_and_numbered_frames(album: Path, server: str) -> None:
    write_video(album / "clip.avi", 4)
    sources = Sources(["b.png", f"{server}/clip.avi"])

    frames = list(sources)

    assert [frame.relative for frame in frames] == [Path("b.png")] + [Path("stream-1")] * 4
    assert frames[1].name == f"{server}/clip.avi"
    assert frames[1].path is None
    assert [frame.moment.number for frame in frames[1:] if frame.moment] == [0, 1, 2, 3]
    assert sources.count() is None


@pytest.mark.parametrize("words", [["b.png", "clip.avi", "more"], ["."]])
@pytest.mark.parametrize("workers", [1, 3])
def test_parallel_reading_gives_the_same_frames(album: Path, words: list[str], workers: int) -> None:
    damage(album)
    write_video(album / "clip.avi", 12)
    alone, parallel = Sources(words), Sources(words)
    expected = [(frame.name, frame.moment, frame.image.mean()) for frame in alone]

    results = list(parallel.map(lambda frame: frame.image.mean(), Parallel(workers, 1)))

    assert [(frame.name, frame.moment, mean) for frame, mean in results] == expected
    assert parallel.problems == alone.problems
    assert len(expected) > 12


def test_a_large_folder_and_a_slow_reader_do_not_fill_the_memory(tmp_path: Path) -> None:
    content = write_gray(tmp_path / "0000.bmp").read_bytes()
    for number in range(1, 2000):
        (tmp_path / f"{number:04}.bmp").write_bytes(content)
    alive: set[int] = set()
    most = []

    def work(frame: Frame) -> None:
        alive.add(id(frame.image))
        weakref.finalize(frame.image, alive.discard, id(frame.image))

    with closing(Sources([tmp_path]).map(work, Parallel(workers=3, threads=1, ahead=1))) as results:
        for number, _ in enumerate(results):
            if number % 100 == 0:
                time.sleep(0.01)
            most.append(len(alive))
    assert len(most) == 2000
    assert 3 <= max(most) <= 3 + 1 + 1


def test_leave_out_skips_the_given_frames(album: Path) -> None:
    sources = Sources(["b.png", "more"])
    sources.leave_out({"b.png", "another"})
    assert [frame.name for frame in sources] == [str(Path("more/a.png"))]
    assert sources.count() == 1

    sources.leave_out([str(Path("more/a.png"))])
    assert list(sources) == []


def test_a_missing_stream_is_an_error(album: Path, server: str) -> None:
    with pytest.raises(
        ImageError, match=rf"^{server}/absent\.avi: expected .*, found HTTP status 404: no such page"
    ):
        list(Sources([f"{server}/absent.avi"]))


@pytest.mark.parametrize("name", ["a.png?x=1", "a.png", "no-suffix", "photo.jpg"])
def test_an_image_url_is_one_image_and_one_download(album: Path, name: str) -> None:
    """The name does not matter: the content type and the first bytes do. EXIF rotation is applied."""
    picture = Image.new("RGB", (30, 20), (200, 0, 0))
    exif = picture.getexif()
    exif[274] = 6  # a quarter turn
    buffer = BytesIO()
    picture.save(buffer, "JPEG", exif=exif)
    asked: list[str] = []

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header(
                "Content-Type", "application/octet-stream" if "no" in self.path else "image/jpeg"
            )
            self.end_headers()
            self.wfile.write(buffer.getvalue())

    with serving(Handler) as server:
        sources = Sources([f"{server}/{name}"])
        with closing(sources.map(lambda frame: frame.image.shape, Parallel.of(sources.count()))) as results:
            ((frame, shape),) = results

    assert shape == (30, 20, 3)
    assert frame.moment is None
    assert frame.relative == Path("url-0")
    assert asked == [f"/{name}"]


@pytest.mark.parametrize(
    "kind", ["PNG", "WebP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM", "PCX", "TGA"]
)
def test_images_of_any_format_are_read_from_a_url(kind: str) -> None:
    buffer = BytesIO()
    Image.new("RGB", (60, 40), (200, 0, 0)).save(buffer, kind)
    with file_server.serving() as server:
        server.answers["/image"] = lambda request: request.answer(200, buffer.getvalue())
        (frame,) = Sources([f"{server.url}/image"])
    assert frame.image.shape == (40, 60, 3)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "refuses user and password"),
        (403, "forbids it"),
        (404, "no such page"),
        (500, "HTTP status 500"),
    ],
)
def test_an_http_error_is_explained(status: int, words: str) -> None:
    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self.send_error(status)

    with serving(Handler) as server, pytest.raises(ImageError, match=words) as caught:
        list(Sources([f"{server.replace('//', '//admin:Admin@123@')}/a.png?token=xyz"]))
    assert "Admin" not in str(caught.value)
    assert "xyz" not in str(caught.value)


def test_user_and_password_are_sent_and_not_shown(album: Path) -> None:
    class Handler(QuietHandler):
        def do_GET(self) -> None:
            right = self.headers["Authorization"] == "Basic " + b64encode(b"admin:Admin@123").decode()
            self.send_response(200 if right else 401)
            self.end_headers()
            if right:
                self.wfile.write((album / "b.png").read_bytes())

    with serving(Handler) as server:
        (frame,) = Sources([f"{server.replace('//', '//admin:Admin@123@')}/b.png"])
    assert frame.name == f"{server}/b.png"


def test_a_redirect_does_not_send_the_password_to_another_server(album: Path) -> None:
    png = (album / "b.png").read_bytes()
    with file_server.serving() as mine, file_server.serving() as other:
        mine.answers["/here.png"] = file_server.redirect("/a.png")
        mine.answers["/there.png"] = file_server.redirect(f"{other.url}/a.png")
        for server in (mine, other):
            server.answers["/a.png"] = lambda request: request.answer(200, png)
        for name in ("here", "there"):
            (_,) = Sources([f"{mine.url.replace('//', '//me:secret@')}/{name}.png"])
    sent = {path: "Authorization" in headers for path, headers in mine.seen}
    assert sent == {"/here.png": True, "/a.png": True, "/there.png": True}
    assert [(path, "Authorization" in headers) for path, headers in other.seen] == [("/a.png", False)]


@pytest.mark.parametrize("target", ["ftp://127.0.0.1:{}/a.png", "file://{}/b.png", "data:image/png,x"])
def test_redirects_to_other_protocols_are_refused(album: Path, target: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, file_server.serving() as server:
        place = album if "file" in target else listening.getsockname()[1]
        server.answers["/a.png"] = file_server.redirect(target.format(place))
        with pytest.raises(ImageError, match=r"/a\.png: expected an image or a video, found HTTP status 302"):
            list(Sources([f"{server.url}/a.png"]))
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):  # no connection was opened
            listening.accept()


@pytest.mark.parametrize("where", ["in the headers", "at once", "in the image"])
def test_a_download_that_is_too_slow_is_abandoned(
    album: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lookonce.runtime.remote.PATIENCE", 0.5)
    png = (album / "b.png").read_bytes()
    start = {"in the headers": b"", "at once": b"\r\n", "in the image": b"\r\n" + png[:64]}[where]
    piece = b"X: y\r\n" if where == "in the headers" else b"x"
    with file_server.serving() as server:
        server.answers["/a.png"] = file_server.dripping(b"HTTP/1.1 200 OK\r\n" + start, piece)
        with pytest.raises(ImageError, match="found no answer within"):
            list(Sources([f"{server.url}/a.png"]))


@pytest.mark.parametrize(
    ("cut", "added", "headers", "what"),
    [
        (30, b"", {}, "found an answer that is not HTTP|cut short"),
        (
            0,
            b"",
            {"Content_Encoding": "gzip"},
            "expected an image or a video as it is, found it encoded: 'gzip'",
        ),
        (0, bytes(1 << 20), {"Content_Encoding": "deflate"}, "found it encoded: 'deflate'"),
    ],
)
def test_a_download_shorter_than_declared_or_encoded_is_an_error(
    album: Path, cut: int, added: bytes, headers: dict[str, str], what: str
) -> None:
    png = (album / "b.png").read_bytes()
    with file_server.serving() as server:
        server.answers["/a.png"] = lambda request: request.answer(
            200, png[: len(png) - cut] + added, length=len(png) + len(added), **headers
        )
        with pytest.raises(ImageError, match=what):
            list(Sources([f"{server.url}/a.png"]))


def test_unreachable_hosts_are_errors() -> None:
    for url in (f"http://127.0.0.1:{free_port()}/a.png", f"rtsp://127.0.0.1:{free_port()}/live"):
        with pytest.raises(ImageError, match="no server there: the connection is refused"):
            list(Sources([url]))
    with pytest.raises(ImageError, match=r"http://nowhere\.invalid/a\.png: .* found an unknown host"):
        list(Sources(["http://nowhere.invalid/a.png"]))


def test_a_body_beyond_the_limit_is_refused(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lookonce.runtime.remote.LARGEST", 100)

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write((album / "b.png").read_bytes() + bytes(100))

    with serving(Handler) as server, pytest.raises(ImageError, match="at most 100 bytes, found a larger one"):
        list(Sources([f"{server}/b.png"]))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
def test_fifos_devices_and_link_loops_are_refused(album: Path) -> None:
    os.mkfifo(album / "fifo.png")
    os.mkfifo(album / "fifo.mp4")
    os.mkfifo(album / "fifo")
    (album / "zero.png").symlink_to("/dev/zero")
    for name in ("fifo.png", "fifo.mp4", "fifo", "zero.png"):
        with pytest.raises(ImageError, match=rf"{name}: expected a file, found a (FIFO|device)"):
            list(Sources([name]))
    with pytest.raises(SourceError, match="found a FIFO"):
        Sources(["@fifo"])
    (album / "more" / "loop").symlink_to(".")
    (album / "more" / "again").symlink_to("..")
    assert len(Sources(["**/*.png", "**/**/**/*.png"]).origins) == 4
    assert len(Sources(["more/**"]).origins) == 6  # links are followed too, and each folder is read once
    assert Sources(["."]).count() == 4


def test_a_camera_has_no_count(album: Path) -> None:
    assert Sources(["b.png", "0"]).count() is None


def test_reading_is_lazy(album: Path) -> None:
    frames = iter(Sources(["b.png", "a.JPG"]))

    assert next(frames).name == "b.png"
    (album / "a.JPG").unlink()
    assert list(frames) == []


def damage(album: Path) -> list[str]:
    """Write bad files among good ones: cut short, a web page, empty, and a fake video."""
    good = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))[1].tobytes()
    (album / "cut.jpg").write_bytes(good[: len(good) // 2])
    (album / "page.png").write_text("<!DOCTYPE html><html>404</html>")
    (album / "nothing.jpg").touch()
    (album / "film.mp4").write_bytes(bytes(999))
    return ["cut.jpg", "film.mp4", "nothing.jpg", "page.png"]


def test_bad_files_are_skipped_and_counted(album: Path) -> None:
    bad = damage(album)
    sources = Sources(["."])

    frames = list(sources)

    assert len(frames) == 4
    assert sorted(problem.place for problem in sources.problems) == bad
    assert {problem.outcome for problem in sources.problems} == {"skipped"}
    by_name = {problem.place: problem.what for problem in sources.problems}
    assert "cut short" in by_name["cut.jpg"]
    assert "HTML" in by_name["page.png"]
    assert "empty" in by_name["nothing.jpg"]
    assert not any(name in what for name, what in by_name.items())  # named once
    list(sources)
    assert len(sources.problems) == 4  # counted again


def stack(path: Path, pages: int) -> Path:
    """Write a TIFF of gray pages: page n has the value n."""
    first, *others = (Image.new("RGB", (12, 8), (number,) * 3) for number in range(1, pages + 1))
    first.save(path, save_all=True, append_images=others)
    return path


def test_a_large_image_with_a_damaged_block_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks are read while the image is processed, after its structure was checked."""
    for name in ("a.png", "c.png"):
        write_gray(tmp_path / name)
    bad = write_tiff(tmp_path / "b.tif", (128, 128), tile=64)
    data = bytearray(bad.read_bytes())
    places = struct.unpack_from("<I", data, data.rindex(struct.pack("<HHI", 324, 4, 4)) + 8)[0]
    struct.pack_into("<I", data, places, 1 << 30)
    bad.write_bytes(data)
    monkeypatch.setattr(sources_module, "is_large_tiff", lambda path, at: path == bad)
    sources = Sources([tmp_path])

    def work(frame: Frame) -> int:
        image = frame.image
        return int((image.read(0, 8, 0, 8) if isinstance(image, LargeImage) else image).max())

    results = sources.map(work, Parallel(2, 1), Reading(by_windows=True))
    assert [(Path(frame.name).name, gray) for frame, gray in results] == [("a.png", 100), ("c.png", 100)]
    (problem,) = sources.problems
    assert (Path(problem.place).name, problem.outcome) == ("b.tif", "skipped")
    assert "cut short" in problem.what


def damage_pages(path: Path, *numbers: int) -> None:
    """Make pages of a TIFF, counted from 0, claim a million rows."""
    data = bytearray(path.read_bytes())
    first = struct.unpack_from("<I", data, 4)[0]
    places = [at or first for at in tiff_pages(path)]
    for number in numbers:
        tags = tags_of(data, places[number])
        struct.pack_into("<HHII", data, tags[257], 257, 4, 1, 10**6)
    path.write_bytes(data)


def tags_of(data: bytes | bytearray, at: int) -> dict[int, int]:
    """Tag -> offset of its entry, in the directory at an offset."""
    entries = range(at + 2, at + 2 + 12 * struct.unpack_from("<H", data, at)[0], 12)
    return {struct.unpack_from("<H", data, entry)[0]: entry for entry in entries}


def test_a_damaged_first_page_does_not_hide_the_others(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.tif", 3)
    damage_pages(path, 0)
    sources = Sources([path])

    assert [(frame.name, frame.image.max()) for frame in sources] == [(f"{path}#2", 2), (f"{path}#3", 3)]
    assert [problem.place for problem in sources.problems] == [f"{path}#1"]
    assert sources.problems[0].what.startswith("expected")  # without the name again


def test_the_memory_of_each_page_follows_its_own_size(tmp_path: Path) -> None:
    pages = [Image.new("RGB", (12, 8)), Image.new("RGB", (60, 40))]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    write_gray(tmp_path / "b.png")

    write_video(tmp_path / "c.avi", 2)

    found = [item.memory for item in Sources([tmp_path])._items(Reading())]

    assert found == [11 * 96, 11 * 2400, 3 * 96, 32 * 16 * 3, 32 * 16 * 3]


def test_a_page_does_not_take_the_name_of_a_file(tmp_path: Path) -> None:
    stack(tmp_path / "a.tif", 2)
    write_gray(tmp_path / "a#2.tif")
    write_gray(tmp_path / "a#2-2.tif")

    found = {str(frame.relative): frame.image.max() for frame in Sources([tmp_path])}

    assert found == {"a#1.tif": 1, "a#2-3.tif": 2, "a#2.tif": 100, "a#2-2.tif": 100}
    rest = Sources([tmp_path])
    rest.leave_out({str(tmp_path / "a#2.tif"), str(tmp_path / "a#2-2.tif")})
    assert [str(frame.relative) for frame in rest] == ["a#1.tif", "a#2-3.tif"]  # the same when resumed


def test_strict_stops_at_the_first_bad_file(album: Path) -> None:
    damage(album)
    seen: list[Frame] = []

    with pytest.raises(ImageError, match=r"cut\.jpg"):
        seen.extend(Sources([".", "notes.txt"], strict=True))
    assert Sources(["."], strict=True).problems == []


def test_no_readable_file_is_an_error(album: Path) -> None:
    damage(album)

    with pytest.raises(ImageError, match=r"page\.png.*HTML"):
        list(Sources(["page.png"]))
    with pytest.raises(SourceError, match=r"none of 2 files can be read; the first: page\.png: .*HTML"):
        list(Sources(["page.png", "cut.jpg"]))


def test_a_video_that_ends_early_keeps_its_frames(album: Path) -> None:
    video = write_video(album / "short.avi", 20)
    os.truncate(video, video.stat().st_size * 2 // 3)
    sources = Sources([video, "b.png"])

    frames = list(sources)

    assert len(frames) > 5
    assert frames[-1].name == "b.png"
    assert "expected 20 frames" in sources.problems[0].what


def test_unsupported_image_formats_are_named_and_not_read_as_videos(tmp_path: Path) -> None:
    """FFmpeg reads some of them as a video of one frame."""
    pixels = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))
    for name in ("a.ico", "b.sgi", "c.qoi", "d.dds"):
        pixels.save(tmp_path / name)
    (tmp_path / "e.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(300))
    (tmp_path / "f.cr2").write_bytes(b"II*\0" + bytes(300))
    for name in ("g.tga", "h.pcx", "i.apng"):
        pixels.save(tmp_path / name, "PNG" if name == "i.apng" else None)
    (tmp_path / "notes.txt").write_text("nothing")

    sources = Sources([tmp_path])
    found = [(frame.relative.name, frame.moment) for frame in sources]

    assert found == [("g.tga", None), ("h.pcx", None), ("i.apng", None)]
    assert [Path(problem.place).name[0] for problem in sources.problems] == list("abcdef")
    assert all("interlaced" not in problem.what for problem in sources.problems)


@pytest.mark.parametrize("url", ["http://[/", "https://u:secret@[::1/a.png"])
def test_a_damaged_url_is_one_line_without_its_password(url: str) -> None:
    with pytest.raises(ImageError, match="expected a URL, found a damaged one") as caught:
        list(Sources([url]))
    assert "secret" not in str(caught.value)


def test_count_adds_up_pages_and_frames(album: Path) -> None:
    write_video(album / "clip.avi", 3)
    stack(album / "pages.TIF", 4)
    (album / "none.tif").write_text("no TIFF")
    assert Sources(["b.png", "clip.avi", "pages.TIF", "none.tif", "a.JPG"]).count() == 1 + 3 + 4 + 1 + 1


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a.tif#2", "a.tif"),
        ("a.tif", "a.tif"),
        ("a#1#2", "a#1"),
        ("a#b", "a#b"),
        ("a#", "a#"),
        ("there#2", "there#2"),
    ],
)
def test_a_page_name_leads_to_its_file(album: Path, name: str, file: str) -> None:
    (album / "a.tif#2").touch()  # not among the sources
    for given in ("a.tif", "a#1", "a#b", "a#", "there#2"):
        write_gray(album / "x.png").rename(album / given)
    sources = Sources(["a.tif", "a#1", "a#b", "a#", "there#2"])
    assert sources.file_of(name) == file
    assert sources.origins[sources.number_of(name)] == Path(file)


def test_a_file_with_the_name_of_a_page_is_refused(album: Path) -> None:
    stack(album / "a.tif", 3)
    for page in (2, 4):
        write_gray(album / "x.png").rename(album / f"a.tif#{page}")
    with pytest.raises(SourceError, match=r"a\.tif#2: expected a name of its own, found that of page 2 of a"):
        Sources(["a.tif#2", "a.tif"])
    assert [frame.name for frame in Sources(["a.tif", "a.tif#4"])] == [
        "a.tif#1",
        "a.tif#2",
        "a.tif#3",
        "a.tif#4",
    ]
    stack(album / "a.tif", 1)
    assert [frame.name for frame in Sources(["a.tif", "a.tif#2"])] == ["a.tif", "a.tif#2"]


def test_every_kind_of_source_scales_values_and_names_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, pages = tmp_path / "a.png", tmp_path / "b.tif"
    deep = Image.fromarray(np.full((8, 12), 400, np.uint16))
    deep.save(image)
    deep.save(pages, save_all=True, append_images=[deep])
    png = image.read_bytes()

    with file_server.serving() as server, image.open() as piped:
        server.answers["/a.png"] = lambda request: request.answer(200, png)
        monkeypatch.setattr(sys, "stdin", piped)
        url = f"{server.url}/a.png"
        frames = list(Sources([image, pages, url, "-"]).read(Reading((0, 1000))))

    assert [int(frame.image[0, 0, 0]) for frame in frames] == [102] * 5
    assert [(each.name, each.relative, each.path, each.moment, each.page) for each in frames] == [
        (str(image), Path("a.png"), image, None, 0),
        (f"{pages}#1", Path("b#1.tif"), pages, None, 0),
        (f"{pages}#2", Path("b#2.tif"), pages, None, tiff_pages(pages)[1]),
        (url, Path("url-2"), None, None, 0),
        ("-", Path("stdin"), None, None, 0),
    ]


def test_every_kind_of_source_reduces_a_jpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_noise(tmp_path / "a.jpg")
    with file_server.serving() as server, path.open() as piped:
        jpeg = path.read_bytes()
        server.answers["/a.jpg"] = lambda request: request.answer(200, jpeg)
        monkeypatch.setattr(sys, "stdin", piped)
        sources = Sources([path, f"{server.url}/a.jpg", "-"])
        half = Reading(least=lambda size: (size[0] // 2, size[1] // 2))
        images = [frame.image for frame in sources.read(half)]

    assert [image.shape for image in images] == [(64, 96, 3)] * 3
    assert [image.pixels.shape for image in images if isinstance(image, ReducedImage)] == [(32, 48, 3)] * 3


def write_noise(path: Path) -> Path:
    write_image(path, np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8))
    return path


def test_a_damaged_jpeg_gives_the_same_message_at_any_size(tmp_path: Path) -> None:
    path = write_noise(tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[:-200])
    write_gray(tmp_path / "b.png")
    whole, reduced = Sources([tmp_path]), Sources([tmp_path])
    least = Reading(least=lambda size: (1, 1))

    assert [Path(frame.name).name for frame in whole] == ["b.png"]
    assert [Path(frame.name).name for frame in reduced.read(least)] == ["b.png"]
    assert reduced.problems == whole.problems
    assert whole.problems[0].place == str(path)


def test_jpegs_on_standard_input_become_video_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jpeg = write_noise(tmp_path / "a.jpg").read_bytes()
    (tmp_path / "all").write_bytes(jpeg + b"\xff\xd8\xff\xd9" + jpeg)  # the second has a beginning and an end
    with (tmp_path / "all").open() as piped:
        monkeypatch.setattr(sys, "stdin", piped)
        sources = Sources(["-"])
        frames = [frame for frame, _ in sources.map(lambda frame: None, Parallel(2, 1))]

    assert [(frame.name, frame.relative, frame.moment) for frame in frames] == [
        ("-", Path("stdin"), Moment(0, 0.0, 25.0)),
        ("-", Path("stdin"), Moment(2, 2 / 25, 25.0)),
    ]
    (problem,) = sources.problems
    assert problem.place == "- (image 1)"
    assert problem.what.startswith("expected")


def test_a_damaged_image_url_is_skipped_and_named(album: Path) -> None:
    png = (album / "b.png").read_bytes()
    with file_server.serving() as server:
        server.answers["/bad.png"] = lambda request: request.answer(200, png[:-20])
        server.answers["/good.png"] = lambda request: request.answer(200, png)
        sources = Sources([f"{server.url}/bad.png", f"{server.url}/good.png"])
        (frame,) = sources

    assert frame.relative == Path("url-1")
    (problem,) = sources.problems
    assert problem.place == f"{server.url}/bad.png"
    assert problem.what.startswith("expected")


@pytest.mark.parametrize("source", ["b.png", "clip.avi"])
def test_an_image_found_bad_while_processing_is_skipped(album: Path, source: str) -> None:
    write_video(album / "clip.avi", 1)

    def work(frame: Frame) -> str:
        if frame.name == source:
            raise ImageError(f"{source}: expected a block, found none")
        return frame.name

    sources = Sources([source, "a.JPG"])
    assert [name for _, name in sources.map(work, Parallel(1, 1))] == ["a.JPG"]
    assert sources.problems == [Problem(source, "expected a block, found none")]


def test_files_read_only_to_their_first_frame_are_named(tmp_path: Path) -> None:
    images = [Image.new("RGB", (12, 8), (90 * number,) * 3) for number in range(3)]
    for name in ("a.gif", "b.WEBP"):
        images[0].save(tmp_path / name, save_all=True, append_images=images[1:])
    for name in ("c.gif", "d.png", "e.jpg"):
        images[0].save(tmp_path / name)
    stack(tmp_path / "f.tif", 2)  # all pages of which are read
    sources = Sources([tmp_path])

    for _ in range(2):  # named again
        assert len(list(sources)) == 7
        assert [Path(name).name for name in sources.series] == ["a.gif", "b.WEBP"]


def test_a_resumed_run_may_have_only_unreadable_files_left(album: Path) -> None:
    damage(album)
    sources = Sources(["b.png", "page.png"])
    sources.leave_out({"b.png"})

    assert list(sources) == []
    assert [problem.place for problem in sources.problems] == ["page.png"]


def test_of_many_unreadable_files_the_first_is_quoted(album: Path) -> None:
    damage(album)
    with pytest.raises(SourceError, match=r"^none of 3 files .*; the first: cut\.jpg: .* cut short"):
        list(Sources(["cut.jpg", "page.png", "nothing.jpg"]))


def test_after_twenty_damaged_pages_the_rest_is_skipped(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.tif", 24)
    damage_pages(path, *range(1, 21), 22)
    sources = Sources([path])

    assert [frame.name for frame in sources] == [f"{path}#1", f"{path}#22"]
    *each, rest = sources.problems
    assert [problem.place for problem in each] == [f"{path}#{number}" for number in range(2, 22)]
    assert all(problem.what.startswith("expected") for problem in each)
    assert rest == Problem(str(path), "found 20 damaged pages: pages 23 to 24 left out")


def test_pages_before_a_damaged_directory_are_read(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.tif", 3)
    data = bytearray(path.read_bytes())
    struct.pack_into("<H", data, tiff_pages(path)[2], 0xFFFF)  # tags
    path.write_bytes(data)
    sources = Sources([path])

    assert [frame.name for frame in sources] == [f"{path}#1", f"{path}#2"]
    assert sources.problems == [
        Problem(str(path), "expected the directory of page 3, found it damaged"),
    ]


def test_a_tiff_with_a_damaged_first_directory_fails_as_an_image(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.tif", 2)
    data = bytearray(path.read_bytes())
    struct.pack_into("<H", data, struct.unpack_from("<I", data, 4)[0], 0xFFFF)
    path.write_bytes(data)
    with pytest.raises(ImageError) as alone:
        read_image(path)
    sources = Sources([path, write_gray(tmp_path / "b.png")])

    assert [frame.relative for frame in sources] == [Path("b.png")]
    (problem,) = sources.problems
    assert f"{path}: {problem.what}" == str(alone.value)


def with_a_small_page_before(path: Path) -> Path:
    """Make the upper left tile of an image its first page, and the image its second one."""
    data = path.read_bytes()
    (at,) = struct.unpack_from("<I", data, 4)
    tags = tags_of(data, at)
    small = bytearray(data[at : at + 2 + 12 * len(tags)])
    for tag in (256, 257):
        struct.pack_into("<I", small, tags[tag] - at + 8, 256)
    path.write_bytes(data[:4] + struct.pack("<I", len(data)) + data[8:] + small + struct.pack("<I", at))
    return path


def test_a_page_too_large_for_memory_is_read_in_windows_on_request(tmp_path: Path) -> None:
    corner = [((0, 0, 9, 9), (200, 0, 0))]
    path = with_a_small_page_before(write_tiff(tmp_path / "a.tif", (16_384, 16_384), corner))
    sources = Sources([path])
    assert [frame.image.shape for frame in sources.read(Reading((0, 99)))] == [(256, 256, 3)]
    (problem,) = sources.problems
    assert problem.place == f"{path}#2"

    small, large = sources.read(Reading((0, 99), by_windows=True))
    assert isinstance(small.image, np.ndarray)
    assert isinstance(large.image, LargeImage)
    at = tiff_pages(path)[1]
    assert (large.name, large.relative, large.path, large.page) == (f"{path}#2", Path("a#2.tif"), path, at)
    assert large.image.shape == (16_384, 16_384, 3)
    assert (large.image.name, large.image.values) == (f"{path}#2", (0, 99))
    assert large.image.read(0, 8, 0, 8)[0, 0].tolist() == [200, 0, 0]


def test_images_that_exceed_memory_together_are_read_one_by_one(
    album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "MEMORY", 1)
    lock, inside, most = Lock(), 0, 0

    def work(frame: Frame) -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.01)
        with lock:
            inside -= 1

    assert len(list(Sources(["."]).map(work, Parallel(3, 1)))) == 4
    assert most == 1


def test_closing_does_not_wait_for_the_next_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lookonce.runtime.live.PARTING", 0.01)
    jpeg = write_noise(tmp_path / "a.jpg").read_bytes()
    reading, writing = os.pipe()
    with os.fdopen(reading) as piped, os.fdopen(writing, "wb", buffering=0) as sender:
        monkeypatch.setattr(sys, "stdin", piped)
        sender.write(2 * jpeg)
        results = Sources(["-"]).map(lambda frame: None, Parallel(1, 1))
        next(results)
        next(results)
        ending = Thread(target=results.close, daemon=True)
        ending.start()
        ending.join(5)
        assert not ending.is_alive()


def test_every_worker_processes_an_image_at_the_same_time(album: Path) -> None:
    together = Barrier(3)  # no thread leaves before three have come
    names = ["b.png", "a.JPG", "c [1].png"]
    results = Sources(names).map(lambda frame: together.wait(5), Parallel(3, threads=1, ahead=1))
    assert sorted(turn for _, turn in results) == [0, 1, 2]


def test_a_single_image_on_standard_input_has_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"no image")
    with (tmp_path / "a").open() as piped:
        monkeypatch.setattr(sys, "stdin", piped)
        with pytest.raises(ImageError, match=r"^-: expected"):
            list(Sources(["-"]))


def test_a_page_whose_name_is_taken_gets_a_number(tmp_path: Path) -> None:
    stack(tmp_path / "a.tif", 2)
    write_gray(tmp_path / "a#2.tif")
    assert {str(frame.relative) for frame in Sources([tmp_path])} == {"a#1.tif", "a#2.tif", "a#2-2.tif"}
