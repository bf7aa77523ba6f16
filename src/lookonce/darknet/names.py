"""Class names of a Darknet model, which are in a separate file."""

from contextlib import suppress
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
    data, own = cfg.with_suffix(".data"), cfg.with_suffix(".names")
    if not own.is_file() and data.is_file():
        own = names_file(data)
    if own.is_file():
        names = read_names(own)
        if len(names) != classes:
            raise ModelFileError(
                f"{own}: expected {classes} class names, as in {cfg.name}, found {len(names)}"
            )
        return names, own
    of_others: dict[str, list[Path]] = {"obj.data": [], "*.names": sorted(cfg.parent.glob("*.names"))}
    with suppress(ModelFileError):  # both may belong to another model
        if cfg.with_name("obj.data").is_file():
            of_others["obj.data"].append(names_file(cfg.with_name("obj.data")))
    for files in of_others.values():
        matching: dict[tuple[str, ...], Path] = {}
        for file in files:
            with suppress(ModelFileError):
                if len(names := read_names(file)) == classes:
                    matching[names] = file
        if len(matching) == 1:
            return next(iter(matching.items()))
    return tuple(str(number) for number in range(classes)), None


def read_names(file: Path) -> tuple[str, ...]:
    """Read one name per line; blank lines at the end are ignored.

    Raises:
        ModelFileError: unreadable, far too large, or not text.
    """
    lines = [line.strip() for line in read_lines(file)]
    return tuple(lines) if lines != [""] else ()


def names_file(data: Path) -> Path:
    """Return the file given by `names = ...` in a `.data` file; Darknet looks in its working folder.

    Raises:
        ModelFileError: unreadable, or no such file.
    """
    for line in read_lines(data):
        key, _, value = (part.strip() for part in line.partition("="))
        if key == "names":
            for file in (data.parent / value, Path(value), data.parent / Path(value).name):
                with suppress(OSError):  # a name that is too long
                    if file.is_file():
                        return file
            raise ModelFileError(f"{data}: names={value}: no such file here or beside it")
    raise ModelFileError(f"{data}: expected a line names = FILE, found none")


def read_lines(file: Path) -> list[str]:
    """Read the lines of a small text file in any encoding.

    Raises:
        ModelFileError: unreadable, far too large, or not text.
    """
    try:
        with open_input(file, ModelFileError) as opened:
            content = opened.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ModelFileError(f"{file}: {error.strerror}") from error
    if len(content) > LARGEST_FILE or b"\0" in content:
        raise ModelFileError(f"{file}: expected a text file of at most {LARGEST_FILE:,} bytes")
    return content.decode("utf-8-sig", errors="replace").rstrip().split("\n")
