"""Read and write files safely; `_outputs` adds the rules for replacing files.

Reading: `read_bytes`, `read_text` and `open_input` take regular files of bounded size, so that a FIFO, a
device or a link to one is refused at once instead of blocking or filling memory. `walk_files` visits each
folder once, however it is linked.

Writing: a file is whole or absent. It grows under a hidden name in its own folder and is renamed at the end.

Every process that opens a model imports this file, so what only writing or a message needs is imported there.
"""

import itertools
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeVar, cast
from zlib import crc32

from lookonce._outputs import HIDDEN, check_output, naming, record_output, temporary_prefix
from lookonce.errors import LookonceError

# Largest files that are read into memory, in bytes, by kind. A file above its limit is refused by size.
TEXT_LIMIT = 64 << 20  # names, lists, settings, .cfg, VOC XML, YOLO text: typed or one entry per line
ANNOTATIONS_LIMIT = 2 << 30  # one COCO file for a whole data set; COCO's largest has 0.45 GiB
IMAGE_LIMIT = 1 << 30

LONGEST_NAME, CUT_NAME = 255, 200  # bytes that file systems take; bytes kept of a longer name
MOST_NAMES = 10_000  # beside a path that does not exist, compared with it
WALK_LIMIT = 2_000_000  # files and folders below one folder
UNFINISHED = f"{HIDDEN}-unfinished"

T = TypeVar("T")

_archives: dict[str, str] = {}  # folders that archives were unpacked to by this process, and the archives

_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


SIMILAR = 0.7  # difflib's ratio: fotos and photos have 0.73


def did_you_mean(path: Path, names: Iterable[str] = ()) -> str:
    """Return "; did you mean X?" for a path that does not exist, if a similar name does.

    The first missing part of the path is compared with the files and folders beside it.

    Args:
        path: the path.
        names: other words that the user may have meant.
    """
    import difflib

    if known := difflib.get_close_matches(str(path), names, n=1, cutoff=SIMILAR):
        return f"; did you mean {known[0]}?"
    try:
        missing = path
        while not missing.parent.exists():
            missing = missing.parent
        beside = (entry.name for entry in itertools.islice(os.scandir(missing.parent), MOST_NAMES))
        similar = {name.lower(): name for name in beside if not name.startswith(".")}
        nearest = difflib.get_close_matches(missing.name.lower(), similar, n=1, cutoff=SIMILAR)
        meant = missing.with_name(similar[nearest[0]]) / path.relative_to(missing) if nearest else path
        return f"; did you mean {meant}?" if meant.exists() else ""
    except (OSError, ValueError):  # a folder that may not be read, or a name that cannot exist
        return ""


def check_file(path: Path, error: type[LookonceError] = LookonceError, names: Iterable[str] = ()) -> None:
    """Check that a file can be opened, before an engine or a library opens it: these may block on a FIFO.

    Args:
        path: the file.
        error: class of the error raised.
        names: other words that the user may have meant, see `did_you_mean`.

    Raises:
        LookonceError: `error`; as `open_input`.
    """
    if not path.exists():
        raise error(f"{path}: no such file{did_you_mean(path, names)}")
    open_input(path, error).close()


def check_utf8(path: Path, error: type[LookonceError] = LookonceError) -> None:
    """Check that a path is UTF-8: the engines and TensorBoard take no other.

    Raises:
        LookonceError: `error`; it is not.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as cause:
        raise error(f"{path}: expected a path in UTF-8, found other bytes in it") from cause


def open_input(
    path: Path, error: type[LookonceError] = LookonceError, *, limit: int | None = None
) -> BufferedReader:
    """Open a regular file to read bytes, without ever blocking.

    Args:
        path: the file, or a link to it.
        error: class of the error raised.
        limit: largest size in bytes; None for files that are not read as a whole.

    Raises:
        LookonceError: `error`; missing, unreadable, not a regular file, or above the limit.
    """
    try:
        _check_regular(path, path.stat(), error)  # opening a device can already have effects
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)
        try:
            found = os.fstat(descriptor)
            _check_regular(path, found, error)  # it may have been replaced in the meantime
            _check_size(path, found.st_size, limit, error)
            return os.fdopen(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise
    except (OSError, ValueError) as cause:  # ValueError: a zero byte in the name
        hint = did_you_mean(path) if isinstance(cause, FileNotFoundError) else ""
        raise error(f"{path}: cannot be read: {getattr(cause, 'strerror', None) or cause}{hint}") from cause


def read_bytes(path: Path, error: type[LookonceError] = LookonceError, *, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes.

    Raises:
        LookonceError: `error`, as `open_input`.
    """
    with open_input(path, error, limit=limit) as stream:
        return read_rest(stream, path, error, limit=limit)


def read_rest(stream: BufferedReader, path: Path, error: type[LookonceError], *, limit: int) -> bytes:
    """Read the rest of an open file, at most `limit` bytes.

    Raises:
        LookonceError: `error`; unreadable, or above the limit.
    """
    try:
        data = stream.read(limit + 1)  # files in /proc report no size, and others may grow
    except OSError as cause:
        raise error(f"{path}: cannot be read: {cause.strerror or cause}") from cause
    _check_size(path, len(data), limit, error)
    return data


def read_text(path: Path, error: type[LookonceError] = LookonceError, *, limit: int = TEXT_LIMIT) -> str:
    r"""Read a UTF-8 file, with or without byte order mark; all line ends become `\n`.

    Raises:
        LookonceError: `error`, as `open_input`, or not UTF-8.
    """
    data = read_bytes(path, error, limit=limit)
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as cause:
        byte, at = cause.object[cause.start], cause.start
        raise error(f"{path}: expected UTF-8 text, found the byte 0x{byte:02x} at {at}") from cause


def walk_files(
    folder: Path, error: type[LookonceError] = LookonceError, *, limit: int = WALK_LIMIT
) -> Iterator[Path]:
    """Yield everything but folders below a folder in sorted order, following links, each folder once.

    Hidden folders and files are left out, as by a shell's `**`. A FIFO or a broken link is yielded as well:
    its reader reports it, so a label file never goes missing silently.

    Raises:
        LookonceError: `error`; the folder cannot be read, or more than `limit` entries lie below it.
    """
    visited: set[tuple[int, int]] = set()
    pending, seen = [folder], 0
    while pending:
        current = pending.pop()
        try:
            about = current.stat()
            if (about.st_dev, about.st_ino) in visited:
                continue
            visited.add((about.st_dev, about.st_ino))
            with os.scandir(current) as entries:
                found = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
        except OSError as cause:
            raise error(f"{current}: cannot be read: {cause.strerror or cause}") from cause
        seen += len(found)
        if seen > limit:
            raise error(f"{folder}: expected at most {limit:,} files and folders, found more")
        folders = set()
        for entry in found:
            with suppress(OSError):  # a link in a circle
                if entry.is_dir():
                    folders.add(entry.name)
        pending += [current / entry.name for entry in reversed(found) if entry.name in folders]
        yield from (current / entry.name for entry in found if entry.name not in folders)


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` once the block ends without an error.

    The data reaches the disk before the rename, so a kill or a full disk leaves the earlier file, or none,
    but never half of one. The temporary name keeps the suffix, since some writers choose a format by it.

    Args:
        path: the file; see `_outputs` for what may be replaced during a command.
        durable: wait for the disk. False for hundreds of files that can be made again: they stay whole after
            a kill, but perhaps not after a power cut.
    """
    check_output(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    from tempfile import NamedTemporaryFile

    with NamedTemporaryFile(
        dir=path.parent, prefix=temporary_prefix(path), suffix=path.suffix, delete=False
    ) as made:
        temporary = Path(made.name)
    try:
        with naming(path):
            yield temporary
            mask = os.umask(0)  # the only way to read it is to set it
            os.umask(mask)
            temporary.chmod(0o666 & ~mask)  # temporary files are private, and some writers make their own
            _finish(temporary, path, durable=durable)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_together(path: Path) -> Iterator[Path]:
    """Yield the name of `path` in a new hidden folder beside it, for a file that comes with others.

    Once the block ends without an error, all files in that folder move to where `path` is, `path` last.
    """
    check_output(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(dir=path.parent, prefix=temporary_prefix(path)) as folder:
        main = Path(folder) / path.name
        yield main
        files = sorted(main.parent.iterdir(), key=lambda each: each == main)
        for made in files:
            check_output(path.parent / made.name)  # all or none
        for made in files:
            _finish(made, path.parent / made.name, durable=True)


@contextmanager
def filling(folder: Path) -> Iterator[Path]:
    """Yield a hidden folder within `folder`; its content moves up once the block ends without an error.

    A kill leaves the hidden folder, which the next try clears away, and nothing that looks finished. The
    files reach the disk all at once: waiting for each of ten thousand small ones takes minutes.

    Args:
        folder: a vacant folder (`is_vacant`); it may be a mount point, since nothing is renamed across it.
    """
    import shutil

    created = not folder.exists()
    temporary = folder / UNFINISHED
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if hasattr(os, "sync"):  # not on Windows
            os.sync()
        # files refer to the folders beside them, so they come last
        for child in sorted(temporary.iterdir(), key=lambda each: (each.is_file(), each.name)):
            child.replace(folder / child.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if created:
            with suppress(OSError):  # not empty, which is fine
                folder.rmdir()


def destination(folder: Path) -> Path:
    """Return the final place of a `filling` folder's content; any other folder unchanged."""
    return folder.parent if folder.name == UNFINISHED else folder


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text in one piece: see `replacing`."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json_file(path: Path, tree: object, indent: int | None = 2) -> None:
    """Write a result as JSON in one piece; archives are named as the user gave them."""
    text = json.dumps(as_given(tree), indent=indent, ensure_ascii=False)
    write_text(path, encodable(text) + "\n")


def fit_name(name: str, suffix: str) -> str:
    """Return a file name that ends in the suffix; a name that is too long is cut and gets a unique number."""
    whole = os.fsencode(name)
    if len(whole) + len(suffix) > LONGEST_NAME:
        name = whole[:CUT_NAME].decode(errors="ignore") + f"-{crc32(whole):08x}"
    return name + suffix


def encodable(text: str) -> str:
    r"""Return text that UTF-8 can encode: a stray byte of a file name becomes `\udcXX`, as JSON writes it."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def name_archive(folder: Path, archive: Path) -> None:
    """Let messages name an archive instead of the folder that it was unpacked to."""
    _archives[str(folder)] = str(archive)


def as_given(tree: T) -> T:
    """Return a text, or a tree of JSON, that names archives, not the folders that they were unpacked to."""
    given: Any = tree
    if isinstance(given, str):
        for folder, archive in _archives.items():
            given = given.replace(folder, archive)
    elif _archives and isinstance(given, list | tuple):
        given = [as_given(each) for each in given]
    elif _archives and isinstance(given, Mapping):
        given = {as_given(key): as_given(value) for key, value in given.items()}
    return cast(T, given)


def _check_regular(path: Path, found: os.stat_result, error: type[LookonceError]) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = next((kind for test, kind in _KINDS if test(found.st_mode)), "something else")
        raise error(f"{path}: expected a file, found {kind}")


def _check_size(path: Path, size: int, limit: int | None, error: type[LookonceError]) -> None:
    if limit is not None and size > limit:
        raise error(f"{path}: expected at most {limit:,} bytes, found {size:,}")


def _finish(temporary: Path, path: Path, *, durable: bool) -> None:
    if durable:
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
    check_output(path)  # check again: it may have been created since the block began
    record_output(path, temporary.stat())
    temporary.replace(path)
