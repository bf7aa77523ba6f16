"""Text files: lines, class names and the settings of a Darknet `.data` file."""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lookonce._files import TEXT_LIMIT, open_input, read_bytes
from lookonce.errors import AnnotationError

Names = tuple[str, ...]

SHOWN = 60  # characters of a faulty value that a message quotes


def shown(value: Any) -> str:
    """Quote a faulty value for a message, cut to 60 characters."""
    text = repr(value[:SHOWN] if isinstance(value, str | list) else value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def class_name(written: Any) -> str:
    """Return a class name as it is compared: composed letters, no space around; empty for None."""
    return "" if written is None else unicodedata.normalize("NFC", str(written).strip())


def exists(path: Path) -> bool:
    """Return whether the file or folder exists."""
    try:
        return path.exists()
    except (OSError, ValueError):  # too long a name, a null character, or a folder that may not be entered
        return False


def is_file(path: Path) -> bool:
    """Return whether the file exists; False for an impossible name."""
    return exists(path) and path.is_file()


def is_folder(path: Path) -> bool:
    """Return whether there is such a folder; False for a name that no folder can have."""
    return exists(path) and path.is_dir()


def read_text(path: Path) -> str:
    """Read a text in UTF-8, or in UTF-16 with a byte order mark.

    Carriage returns become line feeds if nothing else ends its lines, as in "CSV (Macintosh)".

    Raises:
        AnnotationError: unreadable, or another encoding.
    """
    content = read_bytes(path, AnnotationError, limit=TEXT_LIMIT)
    try:
        return _decoded(content, "strict")
    except UnicodeDecodeError as error:
        if error.encoding.startswith("utf-16"):
            raise AnnotationError(f"{path}: expected UTF-16 text, found it damaged") from error
        raise AnnotationError(
            f"{path}: expected UTF-8 text, found the byte 0x{error.object[error.start]:02x} at {error.start}"
        ) from error


def read_start(path: Path, size: int) -> str:
    """Read the first bytes of what may be a text, to recognize its format; empty if unreadable."""
    try:
        with open_input(path, AnnotationError) as stream:
            content = stream.read(size)
    except (OSError, AnnotationError):
        return ""
    return _decoded(content, "ignore")


def _decoded(content: bytes, errors: str) -> str:
    codec = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = content.decode(codec, errors)
    return text if "\n" in text else text.replace("\r", "\n")


def read_lines(path: Path, *, stripped: bool = True) -> Iterator[tuple[int, str]]:
    """Yield number (from 1) and text of each line that is not blank; only line feeds end a line.

    Raises:
        AnnotationError: as `read_text`.
    """
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            yield number, line.strip() if stripped else line.removesuffix("\r")


def first_line(path: Path) -> str:
    """Read the first line that is not blank, to recognize a format; empty if unreadable, or without any."""
    try:
        return next((text for _, text in read_lines(path)), "")
    except AnnotationError:
        return ""


def read_names(path: Path, *, repeated: bool = False) -> Names:
    """Read class names, one per line; the first line is class 0.

    Args:
        path: the file.
        repeated: take names that occur several times, as YOLO9000 has some: `crane`, `crane (2)`.

    Raises:
        AnnotationError: unreadable, no text, empty, a blank line between names, or a name twice.
    """
    numbered = list(read_lines(path))
    for expected, (number, name) in enumerate(numbered, 1):
        if number != expected:
            what = f"expected a class name before {name!r}, found a blank line"
            raise AnnotationError(f"{path}:{expected}: {what}")
        if "\0" in name:
            raise AnnotationError(f"{path}:{number}: expected a class name, found {shown(name)}")
    names, count = [name for _, name in numbered], Counter[str]()
    for place, name in enumerate(names if repeated else ()):
        count[class_name(name)] += 1
        if count[class_name(name)] > 1:
            names[place] = f"{name} ({count[class_name(name)]})"
    return checked_names(path, names)


def checked_names(path: Path, names: Sequence[str]) -> Names:
    """Return the names as they are compared, if there are any and each occurs once.

    Raises:
        AnnotationError: otherwise.
    """
    if not names:
        raise AnnotationError(f"{path}: expected class names, found none")
    names = [class_name(name) for name in names]
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise AnnotationError(f"{path}: expected each class name once, found {shown(name)} again")
    return tuple(names)


def read_settings(path: Path) -> dict[str, str]:
    """Read the lines `key = value` of a Darknet `.data` file; `#` or `;` starts a line of comment.

    Raises:
        AnnotationError: unreadable, or another line.
    """
    settings: dict[str, str] = {}
    for line, text in read_lines(path):
        if not text.startswith(("#", ";")):
            name, equals, value = (part.strip() for part in text.partition("="))
            if not equals:
                raise AnnotationError(f"{path}:{line}: expected key = value, found {shown(text)}")
            settings[name] = value
    return settings
