"""Read text files: lines, class names, and the settings in a Darknet `.data` file."""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lookonce._files import TEXT_LIMIT, open_input, read_bytes
from lookonce.errors import AnnotationError

Names = tuple[str, ...]

SHOWN = 60  # characters of an invalid value to quote in a message


def shown(value: Any) -> str:
    """Return an invalid value in quotes for a message, cut to `SHOWN` characters."""
    text = repr(value[:SHOWN] if isinstance(value, str | list) else value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def class_name(written: Any) -> str:
    """Return a class name in the form used for comparing names: NFC, stripped; empty for None."""
    return "" if written is None else unicodedata.normalize("NFC", str(written).strip())


def exists(path: Path) -> bool:
    """Return whether a file or folder exists; False for an impossible name."""
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long, a null character, or a folder without permission
        return False


def is_file(path: Path) -> bool:
    """Return whether a path is an existing file; False for an impossible name."""
    return exists(path) and path.is_file()


def is_folder(path: Path) -> bool:
    """Return whether a path is an existing folder; False for an impossible name."""
    return exists(path) and path.is_dir()


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, or in UTF-16 with a byte order mark.

    Carriage returns become line feeds if the text has no line feeds, as in "CSV (Macintosh)".

    Raises:
        AnnotationError: the file cannot be read, or has another encoding.
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
    """Read the first `size` bytes of a file as text, to recognize its format; empty if it cannot be read."""
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
    """Yield the number (from 1) and text of each line that is not blank; only line feeds end a line.

    Raises:
        AnnotationError: the file cannot be read, or has another encoding.
    """
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            yield number, line.strip() if stripped else line.removesuffix("\r")


def first_line(path: Path) -> str:
    """Read the first line that is not blank, to recognize a format; empty if there is none."""
    try:
        return next((text for _, text in read_lines(path)), "")
    except AnnotationError:
        return ""


def read_names(path: Path, *, repeated: bool = False) -> Names:
    """Read class names, one per line; the first line is class 0.

    Args:
        path: file to read.
        repeated: whether to accept repeated names, as in YOLO9000, and number them: `crane`, `crane (2)`.

    Raises:
        AnnotationError: the file cannot be read, is not text, is empty, has a blank line between names, or
            repeats a name.
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
    """Return class names in the form used for comparing them (see `class_name`).

    Raises:
        AnnotationError: there are no names, or a name occurs twice.
    """
    if not names:
        raise AnnotationError(f"{path}: expected class names, found none")
    names = [class_name(name) for name in names]
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise AnnotationError(f"{path}: expected each class name once, found {shown(name)} again")
    return tuple(names)


def read_settings(path: Path) -> dict[str, str]:
    """Read the lines `key = value` of a Darknet `.data` file; lines that start with `#` or `;` are comments.

    Raises:
        AnnotationError: the file cannot be read, or has a line of another form.
    """
    settings: dict[str, str] = {}
    for line, text in read_lines(path):
        if not text.startswith(("#", ";")):
            name, equals, value = (part.strip() for part in text.partition("="))
            if not equals:
                raise AnnotationError(f"{path}:{line}: expected key = value, found {shown(text)}")
            settings[name] = value
    return settings
