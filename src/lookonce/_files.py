"""Read and write files safely; `_outputs` adds the rules for replacing files.

Reading: `read_bytes`, `read_text` and `open_input` only accept regular files of bounded size, so that a FIFO,
a device or a link to one is rejected at once instead of blocking or filling the memory. `walk_files` visits
each folder once, even with circular links.

Writing: a file is written under a hidden name in its folder and renamed at the end, so it is complete or
absent.

Every process that opens a model imports this module, so imports for writing and for messages are in
functions.
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

# Largest files that are read into memory, in bytes. Larger files are rejected.
TEXT_LIMIT = 64 << 20  # names, lists, settings, .cfg, VOC XML, YOLO text: typed or one entry per line
ANNOTATIONS_LIMIT = 2 << 30  # a COCO file for a whole data set; COCO's largest has 0.45 GiB
IMAGE_LIMIT = 1 << 30

LONGEST_NAME, CUT_NAME = 255, 200  # bytes of the longest file name, and bytes to keep of a longer one
MOST_NAMES = 10_000  # names to compare with the name of a missing file
WALK_LIMIT = 2_000_000  # files and folders below a folder
UNFINISHED = f"{HIDDEN}-unfinished"

T = TypeVar("T")

_archives: dict[str, str] = {}  # folder -> archive that this process unpacked into it

_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


SIMILAR = 0.7  # minimum ratio of difflib; that of "fotos" and "photos" is 0.73


def did_you_mean(path: Path, names: Iterable[str] = ()) -> str:
    """Return "; did you mean X?" for a path that does not exist, or nothing if no name is similar.

    The first missing part of the path is compared with the names of existing files and folders.

    Args:
        path: path that does not exist.
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
    except (OSError, ValueError):  # a folder without permission, or an impossible name
        return ""


def check_file(path: Path, error: type[LookonceError] = LookonceError, names: Iterable[str] = ()) -> None:
    """Check that a file can be opened, before a library opens it, which may block on a FIFO.

    Args:
        path: file to check.
        error: class of the error.
        names: other words that the user may have meant (see `did_you_mean`).

    Raises:
        LookonceError: `error`, as in `open_input`.
    """
    if not path.exists():
        raise error(f"{path}: no such file{did_you_mean(path, names)}")
    open_input(path, error).close()


def check_utf8(path: Path, error: type[LookonceError] = LookonceError) -> None:
    """Check that a path is UTF-8, as the engines and TensorBoard require.

    Raises:
        LookonceError: `error`; the path is not UTF-8.
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
        path: file, or a link to it.
        error: class of the error.
        limit: largest size in bytes; None for files that are not read as a whole.

    Raises:
        LookonceError: `error`; the file is missing, cannot be read, is not a regular file, or is too large.
    """
    try:
        _check_regular(path, path.stat(), error)  # before opening, which can have effects on a device
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(path, flags)
        try:
            found = os.fstat(descriptor)
            _check_regular(path, found, error)  # again, because it may have been replaced meanwhile
            _check_size(path, found.st_size, limit, error)
            return os.fdopen(descriptor, "rb")
        except BaseException:
            os.close(descriptor)
            raise
    except (OSError, ValueError) as cause:  # ValueError for a zero byte in the name
        hint = did_you_mean(path) if isinstance(cause, FileNotFoundError) else ""
        raise error(f"{path}: cannot be read: {getattr(cause, 'strerror', None) or cause}{hint}") from cause


def read_bytes(path: Path, error: type[LookonceError] = LookonceError, *, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes.

    Raises:
        LookonceError: `error`, as in `open_input`.
    """
    with open_input(path, error, limit=limit) as stream:
        return read_rest(stream, path, error, limit=limit)


def read_rest(stream: BufferedReader, path: Path, error: type[LookonceError], *, limit: int) -> bytes:
    """Read the rest of an open file, at most `limit` bytes.

    Raises:
        LookonceError: `error`; the file cannot be read, or is too large.
    """
    try:
        data = stream.read(limit + 1)  # the known size is not enough: /proc reports none, and files may grow
    except OSError as cause:
        raise error(f"{path}: cannot be read: {cause.strerror or cause}") from cause
    _check_size(path, len(data), limit, error)
    return data


def read_text(path: Path, error: type[LookonceError] = LookonceError, *, limit: int = TEXT_LIMIT) -> str:
    r"""Read a UTF-8 file, with or without byte order mark, with `\n` for all line ends.

    Raises:
        LookonceError: `error`, as in `open_input`, or because the text is not UTF-8.
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
    """Yield everything but folders below a folder in sorted order; links are followed, each folder once.

    Hidden folders and files are left out, as with `**` in a shell. A FIFO or a broken link is yielded too,
    so that its reader reports it, and no label file goes missing silently.

    Raises:
        LookonceError: `error`; the folder cannot be read, or has more than `limit` entries below it.
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
            with suppress(OSError):  # a circular link
                if entry.is_dir():
                    folders.add(entry.name)
        pending += [current / entry.name for entry in reversed(found) if entry.name in folders]
        yield from (current / entry.name for entry in found if entry.name not in folders)


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and rename it to `path` when the block ends without an error.

    The data is on disk before the file is renamed, so a kill or a full disk leaves the earlier file or none,
    but no partial one. The temporary name has the same suffix, because some writers choose a format by it.

    Args:
        path: file to write; during a command, `_outputs` has the rules for replacing it.
        durable: whether to wait for the disk. Without this, which is faster for hundreds of files, a file is
            complete after a kill, but perhaps not after a power failure.
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
            mask = os.umask(0)  # can only be read by setting it
            os.umask(mask)
            temporary.chmod(0o666 & ~mask)  # the usual permissions, because a temporary file is private
            _finish(temporary, path, durable=durable)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_together(path: Path) -> Iterator[Path]:
    """Yield a path of the same name in a new hidden folder beside `path`, for a file with companion files.

    When the block ends without an error, all files in that folder are moved to the folder of `path`, `path`
    itself last.
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
    """Yield a hidden folder inside `folder`; when the block ends without an error, its content is moved up.

    A kill leaves the hidden folder, which the next attempt deletes, and nothing that looks finished. There is
    one wait for the disk, since a wait for each of ten thousand small files would take minutes.

    Args:
        folder: folder that is vacant (see `is_vacant`); may be a mount point, as files stay within it.
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
        # files come last, because they refer to the folders beside them
        for child in sorted(temporary.iterdir(), key=lambda each: (each.is_file(), each.name)):
            child.replace(folder / child.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if created:
            with suppress(OSError):  # not empty, as after success
                folder.rmdir()


def destination(folder: Path) -> Path:
    """Return the final folder of a folder from `filling`; any other folder is returned unchanged."""
    return folder.parent if folder.name == UNFINISHED else folder


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text to a file, with `replacing`."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json_file(path: Path, tree: object, indent: int | None = 2) -> None:
    """Write a result as JSON, with `replacing`; archives are named as the user gave them."""
    text = json.dumps(as_given(tree), indent=indent, ensure_ascii=False)
    write_text(path, encodable(text) + "\n")


def fit_name(name: str, suffix: str) -> str:
    """Return a file name with a suffix; a name that is too long is cut, and a checksum keeps it unique."""
    whole = os.fsencode(name)
    if len(whole) + len(suffix) > LONGEST_NAME:
        name = whole[:CUT_NAME].decode(errors="ignore") + f"-{crc32(whole):08x}"
    return name + suffix


def encodable(text: str) -> str:
    r"""Return text that UTF-8 can encode: an invalid byte of a file name becomes `\udcXX`, as in JSON."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def name_archive(folder: Path, archive: Path) -> None:
    """Let messages name an archive instead of the folder into which it was unpacked."""
    _archives[str(folder)] = str(archive)


def as_given(tree: T) -> T:
    """Return a text, or a tree of JSON values, with archives in place of the folders of their content."""
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
    check_output(path)  # again, because it may have been created meanwhile
    record_output(path, temporary.stat())
    temporary.replace(path)
