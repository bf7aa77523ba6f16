"""The tree of errors drawn in `errors.py` has all classes, in their order."""

import re
from pathlib import Path

from lookonce import errors
from lookonce.errors import LookonceError

SOURCE = Path(errors.__file__).parent


def tree(kind: type[LookonceError], depth: int = 0) -> list[tuple[int, str]]:
    """Yield depth and name of an error and of its subclasses, in the order of the file."""
    below = [each for child in kind.__subclasses__() for each in tree(child, depth + 1)]
    return [(depth, kind.__name__), *below]


def test_the_drawn_tree_matches_the_classes() -> None:
    drawn = re.findall(r"^((?:[│├└ ][ ─]{2} )*)(\w+Error) ", errors.__doc__ or "", re.MULTILINE)
    assert [(len(lines) // 4, name) for lines, name in drawn] == tree(LookonceError)


def test_every_error_is_defined_in_errors() -> None:
    names = {name for _, name in tree(LookonceError)}
    places = {
        (path.relative_to(SOURCE).as_posix(), name)
        for path in SOURCE.rglob("*.py")
        for name, base in re.findall(r"^class (\w+)\((\w+)\)", path.read_text("utf-8"), re.MULTILINE)
        if base in names
    }
    assert len(places) > 10
    assert {file for file, _ in places} == {"errors.py"}
