"""Write docs/modules.md, a list of all modules with the first sentence of each, from the modules themselves.

Run: python scripts/modules.py
A test compares the page with the modules, so none can be missing from it.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "lookonce"
PAGE = ROOT / "docs" / "modules.md"
HEAD = """\
# Modules

Every module of the package, and what is in it; [ARCHITECTURE.md](../ARCHITECTURE.md) says how the packages
depend on each other.

This page is made by `python scripts/modules.py`.
"""


def page() -> str:
    """Return the page: a table per package, the modules beside the packages first."""
    packages = sorted({path.parent for path in SOURCE.rglob("*.py")})
    return "\n".join([HEAD, *(_table(package) for package in packages)])


def _table(package: Path) -> str:
    name = package.relative_to(SOURCE.parent).as_posix()
    modules = sorted(package.glob("*.py"), key=lambda path: (path.stem != "__init__", path.name))
    rows = []
    for module in modules:
        documented = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
        paragraph = documented.split("\n\n")[0].split("\n")[0].replace("|", r"\|")
        if module.stem == "__init__":
            rows += [f"## `{name}/`", "", paragraph, "", "| module | holds |", "|---|---|"]
        else:
            rows.append(f"| `{module.name}` | {paragraph} |")
    return "\n".join([*rows, ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
