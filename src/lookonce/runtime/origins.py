"""Find the files, cameras and streams that sources refer to.

A source is an image or video file, a folder, a glob such as `photos/**/*.jpg`, the number of a camera, the
URL of an image or stream, `-` for images on standard input, `@list.txt` for a text file with one source per
line, or `@-` for such a list on standard input. A folder stands for the images and videos directly in it,
without hidden files.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch
from glob import has_magic, iglob
from itertools import chain, islice
from os.path import abspath
from pathlib import Path

from lookonce._files import TEXT_LIMIT, WALK_LIMIT, did_you_mean, read_text, walk_files
from lookonce._urls import redacted
from lookonce.errors import SourceError
from lookonce.runtime.video import VIDEO_SUFFIXES, is_video
from lookonce.runtime.video_checks import Origin
from lookonce.suffixes import IMAGE_SUFFIXES, UNREAD_SUFFIXES

PIPED = "-"  # images on standard input
LIST = "@"  # prefix of a list's name


def find_origins(sources: Sequence[str | Path]) -> list[Origin]:
    """Return the files, cameras and streams of several sources, in order and without repetition.

    Raises:
        SourceError: a source does not exist, or has no images or videos.
    """
    distinct: dict[Origin, Origin] = {}
    for origin in chain.from_iterable(map(resolve, sources)):
        distinct.setdefault(absolute(origin) if isinstance(origin, Path) else origin, origin)
    return list(distinct.values())


def resolve(source: str | Path) -> list[Origin]:
    """Return the files, cameras and streams of one source.

    Raises:
        SourceError: the source does not exist, or has no images or videos.
    """
    text, path = str(source), Path(source)
    if text in (PIPED, LIST + PIPED) and sys.stdin is None:
        raise SourceError(f"{text}: expected data on standard input, found it closed")
    if "://" in text or text == PIPED:
        return [text]
    if device := re.fullmatch(r"/dev/video(\d+)", text):
        return [int(device[1])]
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except OSError as error:  # a name that is too long
        raise SourceError(f"{redacted(text)}: cannot be read: {error.strerror}") from error
    if is_folder:
        return _readable(path.iterdir(), f"{text}: expected images or videos directly in this folder")
    if exists:
        return [path]
    if text.startswith(LIST):
        return list(_listed(text.removeprefix(LIST)))
    if text.isdecimal():
        return [int(text)]
    if has_magic(text):
        return _readable(matches(text), f"{text}: expected a pattern that matches images or videos")
    raise SourceError(
        f"{redacted(text)}: expected a file, folder, pattern, camera number or URL, found no such file"
        f"{did_you_mean(path)}"
    )


def matches(pattern: str) -> Iterator[Path]:
    """Yield the files that a glob matches; `**` matches any number of folders, each visited once."""
    parts = Path(pattern).parts
    if "**" not in parts:
        yield from map(Path, islice(iglob(pattern), WALK_LIMIT))  # noqa: PTH207  (Path.glob takes no absolute)
        return
    fixed = next(number for number, part in enumerate(parts) if has_magic(part))
    base = Path(*parts[:fixed])
    pattern_parts = tuple(  # `**/**` matches as `**` does
        part
        for part, before in zip(parts[fixed:], ("", *parts[fixed:]), strict=False)
        if {part, before} != {"**"}
    )
    for file in walk_files(base, SourceError) if base.is_dir() else ():
        if _matches_parts(file.relative_to(base).parts, pattern_parts):
            yield file


def absolute(path: Path) -> Path:
    """Return the absolute path without `..`; links are not resolved, so the user's names remain."""
    return Path(abspath(path))  # noqa: PTH100  (resolve would follow links)


def _matches_parts(names: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if not pattern:
        return not names
    if pattern[0] == "**":
        return _matches_parts(names, pattern[1:]) or (bool(names) and _matches_parts(names[1:], pattern))
    return bool(names) and fnmatch(names[0], pattern[0]) and _matches_parts(names[1:], pattern[1:])


def _listed(name: str) -> Iterator[Origin]:
    """Yield the files and streams of a list; a missing file is reported when it is to be read."""
    if name == PIPED:
        try:
            text = sys.stdin.read(TEXT_LIMIT).replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            raise SourceError(f"{LIST}{name}: expected a list of paths, found {error}") from error
    else:
        text = read_text(Path(name), SourceError)
    if "\0" in text:
        raise SourceError(f"{LIST}{name}: expected a path in each line, found NUL bytes (`find -print0`?)")
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        raise SourceError(f"{LIST}{name}: expected a path in each line, found an empty list")
    for line in lines:
        yield from resolve(line) if "://" in line or Path(line).is_dir() else [Path(line)]


def _readable(entries: Iterable[Path], expected: str) -> list[Origin]:
    """Return the videos and images, including kinds that cannot be read; raise an error if there are none."""
    entries = list(entries)
    found: list[Origin] = sorted(
        entry
        for entry in entries
        if entry.suffix.lower() in IMAGE_SUFFIXES + VIDEO_SUFFIXES + UNREAD_SUFFIXES
        and not entry.name.startswith(".")
        and entry.is_file()
        and (entry.suffix.lower() != ".ts" or is_video(entry))  # TypeScript
    )
    if not found:
        raise SourceError(f"{expected}, found none among {len(entries)} entries")
    return found
