"""Unpack a `.zip` of a data set into the cache, once, within limits, and never outside its folder."""

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
LARGEST_DIRECTORY = 256 << 20  # limit on the size of an archive's list of members, in bytes
MOST_BYTES = 200 << 30  # limit on the unpacked size, in bytes
HIGHEST_RATIO = 200  # limit on unpacked / packed bytes above one gigabyte; no images compress this well
CLUTTER = re.compile(r"(^|/)(__MACOSX|\.DS_Store|\._[^/]*)(/|$)")  # files that macOS adds
ZIP64 = 56 + 20  # bytes of the ZIP64 records between the list of members and the end record
LONGEST_END = ZIP64 + 22 + 0xFFFF  # bytes, including the longest comment of an end record
UNPACKED = re.compile(r"[0-9a-f]{20}")
FREE = 1 << 30  # bytes of disk space to leave free
# Only these compression methods are accepted: with the others, `zipfile` unpacks 4 KiB of packed bytes at
# once, which can become gigabytes regardless of the declared size.
BOUNDED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
# errors of a damaged archive; an empty member name raises IndexError
DAMAGED = zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, IndexError


def unpack(path: Path) -> Path:
    """Unpack a zip, unless it has been unpacked before, and return the folder.

    The folder is named after the path, size and modification time of the zip. If it is not used for
    `_cache.KEPT_DAYS`, it is deleted when another zip is unpacked. Messages name the zip instead of the
    folder.

    Raises:
        AnnotationError: the file is not a zip, is damaged, encrypted or unsafe, or is too large when
            unpacked.
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
                except OSError:  # another process, such as another rank of the run, may have been faster
                    if not folder.is_dir():
                        raise
            delete_unused(folder.parent.parent, UNPACKED)
    except (*DAMAGED, NotImplementedError, RuntimeError, ValueError) as error:
        raise AnnotationError(f"{path}: expected a zip of a data set, found it unusable: {error}") from error
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be unpacked to {folder}: {error.strerror or error}") from error
    return _inner(folder, path)


def _check_directory(path: Path, stream: BufferedReader) -> None:
    """Check the number of members before reading their list, which takes seconds for a million members.

    Raises:
        AnnotationError: there are too many members.
    """
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
    """Return the only folder in an unpacked archive, or its root if there is anything else."""
    inside = list(folder.iterdir())
    inner = inside[0] if len(inside) == 1 and inside[0].is_dir() else folder
    name_archive(inner, archive)
    return inner


def _place(member: zipfile.ZipInfo) -> PurePosixPath:
    """Return a member's path, in which some Windows programs write backslashes."""
    return PurePosixPath(member.filename.replace("\\", "/"))


def _check(path: Path, members: list[zipfile.ZipInfo], packed: int, folder: Path) -> None:
    """Check that an archive is safe to unpack.

    Raises:
        AnnotationError: it is empty, too large or encrypted, or a member is a link, points outside the
            folder or is compressed by another method.
    """
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
