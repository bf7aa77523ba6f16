"""Write the tables of settings in docs/train.md and recipes/README.md, from the settings themselves.

    python scripts/settings_tables.py

A test compares the pages with the output of this script.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from lookonce.config import TrainSettings, flat
from lookonce.recipe import load_settings

ROOT = Path(__file__).parents[1]
START, END = "<!-- table: scripts/settings_tables.py -->", "<!-- end of table -->"

# Effect of the default value compared with the classic one, measured unless it is given as a reason.
EFFECTS = {
    "batch": "4 instead of 16: AP +0.079 on heads (table 2): four times the steps per epoch",
    "objectness_prior": "AP +0.005 on heads, -0.003 on bccd (table 8): within noise",
    "ema": "AP 0.000 on heads, +0.001 on bccd (table 8)",
    "loss.objectness": "AP +0.099 on heads (table 2), +0.005 on bccd (table 4)",
    "augment.translate": "with zoom, see `augment.zoom`",
    "augment.zoom": "AP -0.006 on heads, -0.013 on bccd (table 8); through tiles AP +0.004 after 30 epochs",
    "augment.mosaic": "always instead of half: AP +0.009 on heads, -0.012 on bccd (table 8)",
    "augment.rectangles": "AP -0.021 per epoch on heads, nothing at equal minutes (tables 5 and 8)",
    "batch_norm.average_first": "without it evaluation finds nothing early in a run (accuracy.md)",
    "model": "fits a CPU; accuracy.md has both",
    "holdout": "a tenth of the images is held out to find the best epoch",
}


def pages() -> dict[Path, str]:
    """Return the path and the new text of each page."""
    tables = {ROOT / "docs" / "train.md": settings_table(), ROOT / "recipes" / "README.md": recipes_table()}
    written = {}
    for page, table in tables.items():
        before, _, rest = page.read_text(encoding="utf-8").partition(START)
        _, _, after = rest.partition(END)
        written[page] = f"{before}{START}\n{table}{END}{after}"
    return written


def settings_table() -> str:
    """Return a table of all settings with their defaults and meanings."""
    rows = [
        f"| `{name}` | {text(value)} | {meaning(name)} |" for name, value in flat(TrainSettings()).items()
    ]
    return "\n".join(["| setting | default | meaning |", "|---|---|---|", *rows, ""])


def recipes_table() -> str:
    """Return a table of both recipes; default values that differ from the classic ones are bold."""
    classic, default = flat(load_settings("classic")), flat(TrainSettings())
    rows = []
    for name, value in default.items():
        mine = text(value) if value == classic[name] else f"**{text(value)}**"
        effect = EFFECTS.get(name, "") if value != classic[name] else ""
        rows.append(f"| `{name}` | {text(classic[name])} | {mine} | {effect} |")
    head = ["| setting | classic | default | measured effect of the default |", "|---|---|---|---|"]
    return "\n".join([*head, *rows, ""])


def text(value: Any) -> str:
    """Return a value in the notation of YAML; a size becomes `HxW`, or one number if it is square."""
    if isinstance(value, list) and len(value) == 2 and all(isinstance(side, int) for side in value):
        return str(value[0]) if value[0] == value[1] else f"{value[0]}x{value[1]}"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def meaning(name: str) -> str:
    """Return the description of a setting, which is the docstring of its field."""
    settings: type[BaseModel] = TrainSettings
    *sections, leaf = name.split(".")
    for section in sections:
        settings = type(getattr(TrainSettings(), section))
    return " ".join((settings.model_fields[leaf].description or "").split())


if __name__ == "__main__":
    for page, written in pages().items():
        page.write_text(written, encoding="utf-8")
