"""Class names of a Darknet model, which are in a separate file."""

from pathlib import Path

from lookonce._files import open_input
from lookonce.errors import ModelFileError

LARGEST_FILE = 1 << 20  # bytes


def find_names(cfg: Path, classes: int) -> tuple[tuple[str, ...], Path | None]:
    """Return the names beside a `.cfg`, and the file they came from.

    In this order: `<model>.names`; the file named in `<model>.data`; the file named in `obj.data`, or the
    other `.names` in the folder, if their number matches; else numbers, and no file.

    Raises:
        ModelFileError: a file with the model's own name has a different number of names.
    """
    own = _own(cfg)
    if own is not None:
        names = read_names(own)
        if len(names) != classes:
            raise ModelFileError(
                f"{own}: expected {classes} class names, as in {cfg.name}, found {len(names)}"
            )
        return names, own
    for guesses in (_of_obj_data(cfg), sorted(cfg.parent.glob("*.names"))):
        fitting = {names: file for file in guesses if len(names := _names_or_nothing(file)) == classes}
        if len(fitting) == 1:
            return next(iter(fitting.items()))
    return tuple(str(number) for number in range(classes)), None


def read_names(file: Path) -> tuple[str, ...]:
    """Read one name per line; blank lines at the end are ignored.

    Raises:
        ModelFileError: unreadable, far too large, or not text.
    """
    lines = [line.strip() for line in _text(file).rstrip().split("\n")]
    return tuple(lines) if lines != [""] else ()


def _own(cfg: Path) -> Path | None:
    """Return the names file with the model's name, or the one named in its `.data` file."""
    names, data = cfg.with_suffix(".names"), cfg.with_suffix(".data")
    if names.is_file():
        return names
    return _names_of(data) if data.is_file() else None


def _of_obj_data(cfg: Path) -> list[Path]:
    """Return the names file given by `obj.data` in the same folder; it may belong to another model."""
    data = cfg.with_name("obj.data")
    try:
        return [_names_of(data)] if data.is_file() else []
    except ModelFileError:
        return []


def _names_of(data: Path) -> Path:
    """Return the file given by `names = ...` in a `.data` file; Darknet looks in its working folder."""
    for line in _text(data).split("\n"):
        key, _, value = (part.strip() for part in line.partition("="))
        if key == "names":
            for place in (data.parent / value, Path(value), data.parent / Path(value).name):
                if _is_file(place):
                    return place
            raise ModelFileError(f"{data}: names={value}: no such file here or beside it")
    raise ModelFileError(f"{data}: expected a line names = FILE, found none")


def _is_file(path: Path) -> bool:
    """Return `Path.is_file`; False instead of an error for a name that is too long."""
    try:
        return path.is_file()
    except OSError:
        return False


def _names_or_nothing(file: Path) -> tuple[str, ...]:
    """Read the names in a file that may be unrelated to the model."""
    try:
        return read_names(file)
    except ModelFileError:
        return ()


def _text(file: Path) -> str:
    try:
        with open_input(file, ModelFileError) as opened:
            content = opened.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ModelFileError(f"{file}: {error.strerror}") from error
    if len(content) > LARGEST_FILE or b"\0" in content:
        raise ModelFileError(f"{file}: expected a text file of at most {LARGEST_FILE:,} bytes")
    return content.decode("utf-8-sig", errors="replace")
