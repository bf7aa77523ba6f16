"""Only regular files of limited size are read; written files are complete or absent, whatever happens."""

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from lookonce._files import (
    UNFINISHED,
    destination,
    did_you_mean,
    filling,
    open_input,
    read_bytes,
    read_text,
    replacing,
    replacing_together,
    walk_files,
    write_text,
)
from lookonce._outputs import Outputs, is_vacant, remove_leftovers
from lookonce.errors import AnnotationError, LookonceError
from lookonce.runtime.backends import open_backend


def test_a_new_text_replaces_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "ä b.txt"
    write_text(target, "old")
    write_text(target, "new ü")
    assert target.read_text(encoding="utf-8") == "new ü"
    assert os.listdir(target.parent) == [target.name]  # noqa: PTH208 - hidden files too


def test_an_error_leaves_the_earlier_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(ZeroDivisionError), replacing(target) as temporary:  # noqa: PT012 - one act
        temporary.write_text("half")
        raise ZeroDivisionError
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_new_file_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_a_kill_while_writing_leaves_the_earlier_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    script = (
        "import sys, time; from pathlib import Path; from lookonce._files import replacing\n"
        "with replacing(Path(sys.argv[1])) as t:\n"
        "    t.write_text('half'); print('writing', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(target)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
    assert target.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2, "the kill came too late to leave anything"
    remove_leftovers(target)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_run_removes_temporary_files_of_a_killed_one(tmp_path: Path) -> None:
    target, other = tmp_path / "m.xml", tmp_path / "m.onnx"
    script = (
        "import os, signal, sys; from pathlib import Path; from lookonce._files import replacing_together\n"
        "with replacing_together(Path(sys.argv[1])) as t:\n"
        "    t.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    for path in (target, other):
        subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / "elsewhere").mkdir()
    next(tmp_path.glob(".lookonce-m-*-*")).with_name(f"{next(tmp_path.glob('.*')).name}z").symlink_to(
        "elsewhere"
    )

    with Outputs("export", files=[target, other]):
        assert not list(tmp_path.glob(".lookonce-m-*"))

    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX file kinds")
@pytest.mark.parametrize(
    ("make", "kind"),
    [(_fifo, "a FIFO"), (_socket, "a socket"), (_device, "a device"), (Path.mkdir, "a folder")],
)
def test_only_regular_files_are_read(make: Callable[[Path], None], kind: str, tmp_path: Path) -> None:
    make(path := tmp_path / "input")
    for read in (read_text, partial(read_bytes, limit=10), open_input):
        with pytest.raises(AnnotationError) as caught:
            read(path, AnnotationError)
        assert str(caught.value) == f"{path}: expected a file, found {kind}"


def test_a_missing_file_and_an_impossible_name_are_one_line(tmp_path: Path) -> None:
    for name in ("missing", "zero\0byte", "n" * 300, "missing/below"):
        with pytest.raises(AnnotationError, match=r"cannot be read: [^\n]+$"):
            read_text(tmp_path / name, AnnotationError)


def test_a_file_above_the_limit_is_refused(tmp_path: Path) -> None:
    (path := tmp_path / "a").write_bytes(bytes(11))
    assert len(read_bytes(path, limit=11)) == 11
    with pytest.raises(LookonceError, match="expected at most 10 bytes, found 11"):
        read_bytes(path, limit=10)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_file_without_a_size_is_bounded_too() -> None:
    assert read_bytes(Path("/proc/self/status"), limit=1_000_000)
    with pytest.raises(LookonceError, match="expected at most 10 bytes"):
        read_bytes(Path("/proc/self/status"), limit=10)


def test_text_is_utf_8_with_any_line_ends(tmp_path: Path) -> None:
    (path := tmp_path / "a").write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n")
    assert read_text(path) == "a\nb\nc\n"
    path.write_bytes(b"ab\xff")
    with pytest.raises(LookonceError, match="expected UTF-8 text, found the byte 0xff at 2"):
        read_text(path)


def test_a_walk_visits_each_folder_once(tmp_path: Path) -> None:
    for name in ("b/c/1.png", "b/2.png", "3.png", ".hidden/4.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "b")
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    found = [path.name for path in walk_files(tmp_path)]
    assert sorted(found) == ["1.png", "2.png", "3.png", "circle", "nowhere"]  # their reader reports it
    with pytest.raises(AnnotationError, match="expected at most 2 files and folders"):
        list(walk_files(tmp_path, AnnotationError, limit=2))


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    target = tmp_path / ("é" * 120 + ".safetensors")
    write_text(target, "x")
    with replacing_together(target) as made:
        made.write_text("y")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["y"]


def test_a_folder_is_empty_until_it_is_complete(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    with filling(out) as folder:
        (folder / "a.txt").write_text("a")
        assert is_vacant(out)
        assert destination(folder) == out
    assert [path.name for path in out.iterdir()] == ["a.txt"]
    assert not is_vacant(out)


def test_an_existing_folder_is_not_replaced(tmp_path: Path) -> None:
    before = tmp_path.stat().st_ino
    with filling(tmp_path) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "a.txt").write_text("a")
    assert tmp_path.stat().st_ino == before
    assert (tmp_path / "sub" / "a.txt").exists()


@pytest.mark.parametrize("exists", [False, True])
def test_an_error_leaves_the_folder_as_it_was(exists: bool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if exists:
        out.mkdir()
    with pytest.raises(KeyboardInterrupt), filling(out) as folder:  # noqa: PT012 - one act
        (folder / "a.txt").write_text("a")
        raise KeyboardInterrupt
    assert out.exists() == exists
    assert is_vacant(out)


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    (tmp_path / UNFINISHED).mkdir()
    (tmp_path / UNFINISHED / "old.txt").touch()
    with filling(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_synced_before_it_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vacant = list[bool]()
    monkeypatch.setattr("os.sync", lambda: vacant.append(is_vacant(tmp_path)))
    with filling(tmp_path) as folder:
        (folder / "a.txt").touch()
    assert vacant == [True]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("photo", "photos"),
        ("Photos", "photos"),
        ("fotos", "photos"),
        ("photos/dgo.jpg", "photos/dog.jpg"),
        ("phots/dog.jpg", "photos/dog.jpg"),
        ("phots/cat.jpg", None),
        ("entirely-else", None),
        ("photos/dog.jpg/x", None),
        ("x" * 300, None),
        ("a\0b", None),
    ],
)
def test_a_missing_path_suggests_the_nearest_existing_one(
    written: str, meant: str | None, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "dog.jpg").touch()
    hint = did_you_mean(tmp_path / written)
    assert hint == ("" if meant is None else f"; did you mean {tmp_path / meant}?")


def test_a_path_may_suggest_a_model_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert did_you_mean(Path("coc"), ["coco"]) == "; did you mean coco?"
    assert did_you_mean(Path("runs/coc"), ["coco"]) == ""
    with pytest.raises(LookonceError, match=r"^cocoo: no such file; did you mean coco\?$"):
        open_backend(Path("cocoo"))


def test_a_missing_file_is_an_error_with_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "names.txt").touch()
    with pytest.raises(LookonceError, match=r"No such file or directory; did you mean .*names\.txt\?"):
        read_text(tmp_path / "nmes.txt")
