"""Find the class names of a Darknet model, which are in a file of their own."""

from contextlib import suppress
from pathlib import Path

from lookonce._texts import is_file, read_names, read_settings
from lookonce.errors import AnnotationError, ModelFileError


def find_names(cfg: Path, classes: int) -> tuple[tuple[str, ...], Path | None]:
    """Return the class names beside a `.cfg`, and their file.

    The first of these is used: `<model>.names`; the file named in `<model>.data`; the file named in
    `obj.data`, or else the only other `.names` file, if the number of names matches; or numbers and no file.

    Raises:
        ModelFileError: the file of this model cannot be used, or has a different number of names.
    """
    data, own = cfg.with_suffix(".data"), cfg.with_suffix(".names")
    try:
        if not own.is_file() and data.is_file():
            own = names_file(data)
        names = read_names(own, repeated=True) if own.is_file() else None
    except AnnotationError as error:
        raise ModelFileError(str(error)) from error
    if names is not None:
        if len(names) != classes:
            raise ModelFileError(
                f"{own}: expected {classes} class names, as in {cfg.name}, found {len(names)}"
            )
        return names, own
    of_others: dict[str, list[Path]] = {"obj.data": [], "*.names": sorted(cfg.parent.glob("*.names"))}
    with suppress(AnnotationError):  # these files may belong to another model
        if cfg.with_name("obj.data").is_file():
            of_others["obj.data"].append(names_file(cfg.with_name("obj.data")))
    for files in of_others.values():
        matching: dict[tuple[str, ...], Path] = {}
        for file in files:
            with suppress(AnnotationError):
                if len(names := read_names(file)) == classes:
                    matching[names] = file
        if len(matching) == 1:
            return next(iter(matching.items()))
    return tuple(str(number) for number in range(classes)), None


def names_file(data: Path) -> Path:
    """Return the file given by `names = ...` in a `.data` file.

    Darknet looks for it in the working folder; here it may also be relative to the `.data` file or beside it.

    Raises:
        AnnotationError: the `.data` file cannot be read, has no such line, or the named file does not exist.
    """
    value = read_settings(data).get("names")
    if value is None:
        raise AnnotationError(f"{data}: expected a line names = FILE, found none")
    for file in (data.parent / value, Path(value), data.parent / Path(value).name):
        if is_file(file):
            return file
    raise AnnotationError(f"{data}: names={value}: no such file here or beside it")
