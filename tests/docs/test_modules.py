"""The list of modules matches the package."""

from scripts.modules import PAGE, SOURCE, page


def test_the_list_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python scripts/modules.py"


def test_every_module_says_what_it_holds() -> None:
    listed = [line for line in page().splitlines() if line.startswith("| `")]
    assert len(listed) == sum(path.stem != "__init__" for path in SOURCE.rglob("*.py"))
    assert [line for line in listed if line.endswith("|  |")] == []
