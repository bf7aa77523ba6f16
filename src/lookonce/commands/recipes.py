"""`lookonce recipes`: the recipes that come with the package."""

import json
from typing import Annotated

import typer

from lookonce.config import TrainSettings, flat, load_settings
from lookonce.config import recipes as known


def recipes(as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False) -> int:
    """List the recipes that come with the package, and how each differs from the default.

    Example: lookonce recipes
    """
    default = flat(TrainSettings())
    found = {
        name: {"file": str(file), "settings": flat(load_settings(file))} for name, file in known().items()
    }
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return 0
    for name, file in known().items():
        differing = [
            f"{setting}={str(value).lower() if isinstance(value, bool) else value}"
            for setting, value in flat(load_settings(file)).items()
            if value != default[setting]
        ]
        typer.echo(f"{name}  {file}")
        typer.echo(f"    {' '.join(differing) or 'what `lookonce train` uses without --recipe'}")
    return 0
