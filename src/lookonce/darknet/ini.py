"""The syntax of a `.cfg`: sections of `key=value` lines, each with its line number.

As in Darknet, blanks are ignored, `#` and `;` begin a comment, a kind of section may occur many times, and
the position of a section is its layer number. An integer may be written with a fraction, which is dropped; a
list may end with a comma, and a file with an end-of-file character (0x1A).
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from lookonce._files import read_bytes
from lookonce.errors import ModelFileError
from lookonce.metadata import LONGEST_CFG

LARGEST_INTEGER = 1_000_000_000
LFS_POINTER = "version https://git-lfs"
ALIASES = {"network": "net", "conv": "convolutional", "max": "maxpool", "avg": "avgpool"}  # as in Darknet
_HEADER = re.compile(r"\[(\w+)\]")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Option:
    """The value and line number of a `key=value` line."""

    value: str
    line: int


@dataclass(slots=True)
class Section:
    """A `[kind]` with its options, and typed access to them.

    Reading an option removes it. `leftovers` returns the rest, so nothing in a file goes unnoticed.

    Attributes:
        file: name of the file, for error messages.
        kind: word in brackets.
        line: line number of the brackets.
        options: options not read yet, by key; a key may occur several times.
        asked: keys that were looked up, for suggestions.
    """

    file: str
    kind: str
    line: int
    options: dict[str, list[Option]] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)

    def error(self, what: str, line: int | None = None) -> ModelFileError:
        """Return an error that names this section and one of its lines."""
        return ModelFileError(f"{self.file}:{line or self.line}: [{self.kind}] {what}")

    def integer(self, key: str, default: int | None, low: int, high: int) -> int:
        """Read an integer from `low` to `high`; a key with a default of None is required."""
        option = self._take(key, default is None)
        if option is None:
            assert default is not None
            return default
        value = self._whole(key, option.value, option.line)
        if not low <= value <= high:
            raise self.error(f"{key}: expected {low} to {high}, found {value}", option.line)
        return value

    def number(self, key: str, default: float) -> float:
        """Read a finite decimal number."""
        option = self._take(key)
        return default if option is None else self._number(key, option.value, option.line)

    def integers(self, key: str, *, needed: bool = False) -> tuple[int, ...]:
        """Read integers separated by commas; none if the key is absent."""
        return self._list(key, self._whole, needed)

    def numbers(self, key: str, *, needed: bool = False) -> tuple[float, ...]:
        """Read finite decimal numbers separated by commas; none if the key is absent."""
        return self._list(key, self._number, needed)

    def word(self, key: str, default: str, known: tuple[str, ...]) -> str:
        """Read a word, one of `known`."""
        option = self._take(key)
        if option is None:
            return default
        if option.value not in known:
            raise self.error(
                f"{key}: expected one of {', '.join(known)}, found {option.value!r}", option.line
            )
        return option.value

    def only(self, key: str, neutral: str) -> None:
        """Read a key and reject any value but `neutral`, with which it has no effect."""
        option = self._take(key)
        if option is None or option.value == neutral:
            return
        if as_number(option.value) is None or as_number(option.value) != as_number(neutral):
            raise self.error(f"{key}={option.value} is not supported (only {key}={neutral})", option.line)

    def leftovers(self, harmless: frozenset[str]) -> tuple[list[str], dict[str, str]]:
        """Return the keys that were not read: the harmless ones, and by key the unknown ones with a hint.

        Darknet ignores unknown keys, so they do not change the numbers either.
        """
        unknown = {}
        for key in self.options.keys() - harmless:
            close = get_close_matches(key, harmless | self.asked, n=1)
            unknown[key] = f"{key} (did you mean {close[0]}?)" if close else key
        return [key for key in self.options if key in harmless], unknown

    def set(self, key: str, value: object) -> None:
        """Replace or append an option."""
        self.options[key] = [Option(str(value), self.line)]

    def _take(self, key: str, needed: bool = False) -> Option | None:
        self.asked.add(key)
        options = self.options.pop(key, [])
        if needed and not options:
            raise self.error(f"expected the key {key!r}, found none")
        for other in options[1:]:
            if other.value != options[0].value:  # Darknet would use the first, OpenCV the last
                raise self.error(
                    f"{key}={other.value} contradicts {key}={options[0].value} in line {options[0].line}",
                    other.line,
                )
        return options[0] if options else None

    def _list(self, key: str, convert: Callable[[str, str, int], T], needed: bool) -> tuple[T, ...]:
        option = self._take(key, needed)
        if option is None:
            return ()
        return tuple(convert(key, item, option.line) for item in option.value.rstrip(",").split(","))

    def _number(self, key: str, text: str, line: int) -> float:
        value = as_number(text)
        if value is None or not math.isfinite(value):
            raise self.error(f"{key}: expected a number, found {text[:40]!r}", line)
        return value

    def _whole(self, key: str, text: str, line: int) -> int:
        value = as_number(text)
        if value is None or abs(value) >= LARGEST_INTEGER:
            raise self.error(f"{key}: expected a whole number, found {text[:40]!r}", line)
        return int(value)


def read_sections(path: Path) -> list[Section]:
    """Read a `.cfg` file into its sections.

    Raises:
        ModelFileError: the file cannot be read, is too large or not text, or a line is malformed.
    """
    content = read_bytes(path, ModelFileError, limit=LONGEST_CFG)
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return parse_sections(content.decode("utf-16", errors="replace"), str(path))
    if b"\0" in content:
        raise ModelFileError(f"{path}: expected a .cfg, which is text, found binary data")
    # comments may be in any encoding; everything else is ASCII
    return parse_sections(content.decode("utf-8-sig", errors="replace"), str(path))


def parse_sections(text: str, file: str) -> list[Section]:
    """Split the text of a `.cfg` into its sections; `file` is its name in error messages.

    Raises:
        ModelFileError: a line is not a section, option or comment, or an option precedes all sections.
    """
    if text.lstrip().startswith("<"):
        raise ModelFileError(f"{file}: expected a .cfg, found a web page saved under its name")
    if text.startswith(LFS_POINTER):
        raise ModelFileError(f"{file}: expected a .cfg, found a Git LFS pointer; fetch it by `git lfs pull`")
    sections: list[Section] = []
    for number, raw in enumerate(text.replace("\x1a", "").split("\n"), 1):
        line = "".join(re.split("[#;]", raw, maxsplit=1)[0].split())  # blanks are ignored
        if header := _HEADER.fullmatch(line):
            sections.append(Section(file, ALIASES.get(header[1], header[1]), number))
        elif line:
            key, equals, value = line.partition("=")
            if not (key and equals and sections):
                raise ModelFileError(
                    f"{file}:{number}: expected [section], key=value or # comment, found {raw.strip()[:60]!r}"
                )
            sections[-1].options.setdefault(key, []).append(Option(value, number))
    return sections


def sections_text(sections: list[Section]) -> str:
    """Return the text of a `.cfg` with these sections, as `parse_sections` reads it."""
    lines = []
    for section in sections:
        lines.append(f"[{section.kind}]")
        lines += [f"{key}={option.value}" for key, options in section.options.items() for option in options]
    return "\n".join(lines) + "\n"


def as_number(text: str) -> float | None:
    """Return the value of a decimal number; None for any other text, such as `nan`."""
    return float(text) if _NUMBER.fullmatch(text) else None


def short_number(number: float) -> str:
    """Format a whole number without a fraction (12.0 as `12`), any other in full."""
    return str(int(number)) if number == int(number) else repr(float(number))
