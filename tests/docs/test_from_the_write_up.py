"""`docs/from-the-write-up.md`: every name exists, and every value is that of the recipes."""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from lookonce.config import TrainSettings
from lookonce.recipe import load_settings

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "from-the-write-up.md").read_text(encoding="utf-8")
CITING = [*(ROOT / "src").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]


def resolve(name: str) -> Any:
    """Return the module, class, function or value with a name such as `lookonce.a.b.C.d`."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: Any = import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise AssertionError(name)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(lookonce\.[\w.]+)`", TEXT))))
def test_a_name_resolves(name: str) -> None:
    resolve(name)


def test_a_missing_name_does_not_resolve() -> None:
    with pytest.raises(AttributeError):
        resolve("lookonce.geometry.boxes.bbox_iou")


def constants() -> list[tuple[str, str, str]]:
    """Return (setting, value in classic, value in default) of each row."""
    section = TEXT.partition("## Constant by constant")[2].partition("\n## ")[0]
    return re.findall(r"^\|[^|]*\| `([\w.]+)` \| ([^|]+?) \| ([^|]+?) \|$", section, re.MULTILINE)


def value(settings: TrainSettings, name: str) -> str:
    found: Any = settings
    for part in name.split("."):
        found = getattr(found, part)
    if isinstance(found, tuple):
        height, width = found
        return str(height) if height == width else f"{height}x{width}"
    return f"{found:.6f}".rstrip("0").rstrip(".") if isinstance(found, float) else str(found)


@pytest.mark.parametrize(("setting", "classic", "default"), constants())
def test_classic_and_default_values_match_the_table(setting: str, classic: str, default: str) -> None:
    assert value(load_settings(ROOT / "recipes" / "classic.yaml"), setting) == classic
    assert value(TrainSettings(), setting) == default


def test_the_table_of_constants_was_read() -> None:
    assert len(constants()) == 19


def test_every_fault_that_code_cites_is_in_the_list() -> None:
    listed = set(re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE))
    cited = {
        number
        for path in CITING
        for number in re.findall(r"\bfaults? (\d+)\b", path.read_text(encoding="utf-8"))
    }
    assert listed == {str(number) for number in range(1, 15)}
    assert cited
    assert cited <= listed
