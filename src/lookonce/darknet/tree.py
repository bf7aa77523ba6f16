"""The tree of classes of a [region], as in YOLO9000, where a class may be a subclass of another.

The file has one line per class, with its name and the number of its parent, or -1. Consecutive classes with
the same parent form a group, and exclude each other.
"""

from pathlib import Path

from lookonce._files import TEXT_LIMIT, read_bytes
from lookonce.darknet.ini import Section
from lookonce.errors import ModelFileError


def include_tree(section: Section) -> None:
    """Replace the file name in the key `tree` of a [region] with the numbers in the file.

    Darknet looks for the file in the working folder; here it may also be beside the `.cfg`.

    Raises:
        ModelFileError: the file does not exist or is malformed.
    """
    options = section.options.get("tree", [])
    if not options or options[0].value.strip("-,0123456789") == "":
        return
    value, folder = options[0].value, Path(section.file).parent
    places = (folder / value, Path(value), folder / Path(value).name)
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        what = f"needs the tree of its classes, tree={value[:60]}: no such file here or beside the .cfg"
        raise section.error(what, options[0].line)
    parents = []
    text = read_bytes(file, ModelFileError, limit=TEXT_LIMIT).decode("utf-8-sig", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if len(words) != 2 or not words[1].removeprefix("-").isdecimal():
            raise ModelFileError(
                f"{file}:{number}: expected a name and a parent's number, found {line[:40]!r}"
            )
        parents.append(words[1])
    section.set("tree", ",".join(parents))


def check_tree(section: Section, parents: tuple[int, ...]) -> None:
    """Check that every parent precedes its children, as Darknet requires.

    Raises:
        ModelFileError: a parent does not precede its child.
    """
    for number, parent in enumerate(parents):
        if not -1 <= parent < number:
            raise section.error(
                f"expected the parent of class {number} in its tree before it, found {parent}"
            )


def groups_of(parents: tuple[int, ...]) -> list[range]:
    """Return the groups of consecutive classes with the same parent, in order."""
    starts = [i for i, parent in enumerate(parents) if i == 0 or parent != parents[i - 1]]
    return [range(*ends) for ends in zip(starts, [*starts[1:], len(parents)], strict=True)]
