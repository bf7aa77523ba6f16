"""Unpack a `.zip` of a data set once into the cache, within limits and without leaving the folder."""

import hashlib
import lzma
import re
import shutil
import stat
import struct
import zipfile
import zlib
from io import SEEK_END, BufferedReader
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from lookonce._cache import cache_folder, delete_unused, mark_used
from lookonce._files import filling, name_archive, open_input
from lookonce._outputs import HIDDEN
from lookonce.errors import AnnotationError

MOST_FILES = 500_000
LARGEST_DIRECTORY = 256 << 20  # bytes that an archive's list of members may take
MOST_BYTES = 200 << 30  # bytes that an archive may unpack to
HIGHEST_RATIO = 200  # of unpacked to packed bytes, beyond the first gigabyte; no images compress this well
CLUTTER = re.compile(r"(^|/)(__MACOSX|\.DS_Store|\._[^/]*)(/|$)")  # files that macOS adds
ZIP64 = 56 + 20  # bytes of the records between the list of members and the end record
LONGEST_END = ZIP64 + 22 + 0xFFFF  # bytes; the end record may contain a comment
UNPACKED = re.compile(r"[0-9a-f]{20}")
FREE = 1 << 30  # bytes of disk space to leave free
# Only these kinds of members are unpacked: of the others, `zipfile` unpacks 4 KiB of packed bytes at a time,
# which can become gigabytes, whatever size they declare.
BOUNDED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
DAMAGED = zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, IndexError  # the last: an empty name


def unpack(path: Path) -> Path:
    """Unpack a zip, unless it has been unpacked before, and return the folder.

    The folder is named after the path, the size and the time of the zip. If nobody reads that zip for
    `_cache.KEPT_DAYS`, the folder is deleted when another one is unpacked. Once a zip has been unpacked,
    messages name it instead of the folder.

    Raises:
        AnnotationError: the file is not a zip, is damaged or encrypted, or is too large when unpacked.
    """
    about = path.stat()
    digest = hashlib.sha256(
        f"{path.absolute()}/{about.st_size}/{about.st_mtime_ns}".encode(errors="replace")
    ).hexdigest()
    folder = cache_folder() / "unpacked" / digest[:20] / path.stem[:80]
    if folder.is_dir():
        mark_used(folder.parent)
        return _inner(folder, path)
    try:
        with open_input(path, AnnotationError) as stream:
            _check_directory(path, stream)
        with open_input(path, AnnotationError) as stream, zipfile.ZipFile(stream) as archive:
            files = (each for each in archive.infolist() if not each.is_dir())
            members = [
                each for each in files if not CLUTTER.search(each.filename) and each.filename[-1:] != "\\"
            ]
            _check(path, members, about.st_size, folder)
            folder.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=folder.parent, prefix=f"{HIDDEN}-") as made:
                with filling(whole := Path(made) / folder.name) as target:
                    for member in members:
                        place = target / _place(member)
                        place.parent.mkdir(parents=True, exist_ok=True)
                        with archive.open(member) as source, place.open("xb") as out:
                            shutil.copyfileobj(source, out)  # never more than the member declares
                try:
                    whole.rename(folder)
                except OSError:  # another process, such as another rank of the same run, was faster
                    if not folder.is_dir():
                        raise
            delete_unused(folder.parent.parent, UNPACKED)
    except (*DAMAGED, NotImplementedError, RuntimeError, ValueError) as error:
        raise AnnotationError(f"{path}: expected a zip of a data set, found it unusable: {error}") from error
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be unpacked to {folder}: {error.strerror or error}") from error
    return _inner(folder, path)


def _check_directory(path: Path, stream: BufferedReader) -> None:
    """Refuse too many members before their list is read, which takes seconds for a million members."""
    end = stream.seek(0, SEEK_END)
    start = stream.seek(max(0, end - LONGEST_END))
    tail = stream.read()
    at, field, form = tail.rfind(b"PK\5\6"), 12, "<I"
    if tail[at + 12 : at + 16] == b"\xff" * 4:  # the number does not fit into 32 bits
        at, field, form = tail.rfind(b"PK\6\6", 0, at), 40, "<Q"
    if at < 0 or len(tail) < at + field + 8:
        return  # `zipfile` will raise an error with a better message
    length = struct.unpack_from(form, tail, at + field)[0]
    if length > LARGEST_DIRECTORY:
        raise AnnotationError(
            f"{path}: expected at most {MOST_FILES:,} files, found {length:,} bytes of names"
        )
    stream.seek(max(0, start + at - ZIP64 - length))
    if (count := stream.read(ZIP64 + length).count(b"PK\1\2")) > MOST_FILES:
        raise AnnotationError(f"{path}: expected at most {MOST_FILES:,} files, found {count:,}")


def _inner(folder: Path, archive: Path) -> Path:
    """Return the only folder in an unpacked archive, or the folder itself if it holds anything else."""
    inside = list(folder.iterdir())
    inner = inside[0] if len(inside) == 1 and inside[0].is_dir() else folder
    name_archive(inner, archive)
    return inner


def _place(member: zipfile.ZipInfo) -> PurePosixPath:
    """Return a member's path; some programs on Windows write backslashes in it."""
    return PurePosixPath(member.filename.replace("\\", "/"))


def _check(path: Path, members: list[zipfile.ZipInfo], packed: int, folder: Path) -> None:
    """Raise if an archive is not to be unpacked, before anything is unpacked."""
    if not members:
        raise AnnotationError(f"{path}: expected a zip of a data set, found no file in it")
    whole = sum(member.file_size for member in members)
    if whole > MOST_BYTES or (whole > 1 << 30 and whole > HIGHEST_RATIO * packed):
        raise AnnotationError(f"{path}: refused: {packed:,} bytes that unpack to {whole:,}")
    there = next(parent for parent in folder.absolute().parents if parent.exists())
    if whole + FREE > shutil.disk_usage(there).free:
        raise AnnotationError(f"{path}: not enough room in {there} to unpack {whole:,} bytes")
    for member in members:
        parts = _place(member).parts
        if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0]:
            raise AnnotationError(
                f"{path}: refused: its member {member.filename[:60]!r} points outside the folder"
            )
        if stat.S_ISLNK(member.external_attr >> 16):
            raise AnnotationError(f"{path}: refused: its member {member.filename[:60]!r} is a link")
        if member.compress_type not in BOUNDED:
            raise AnnotationError(
                f"{path}: expected members stored or deflated, found {member.filename[:60]!r} in another way"
            )
        if member.flag_bits & 1:
            raise AnnotationError(
                f"{path}: expected a zip without password, found {member.filename[:60]!r} encrypted"
            )
