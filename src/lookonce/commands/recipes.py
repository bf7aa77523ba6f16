"""`lookonce recipes`: list the recipes that come with the package."""

from lookonce._outputs import Outputs
from lookonce._terminal import say, terminal
from lookonce.commands import options as shared
from lookonce.config import TrainSettings, flat
from lookonce.recipe import load_settings
from lookonce.recipe import recipes as known


def recipes(json_to: shared.JsonOption = None, force: shared.ForceOption = False) -> int:
    """List the recipes that come with the package, and how each differs from the default.

    Example: lookonce recipes
    """
    default = flat(TrainSettings())
    found = {
        name: {"file": str(file), "settings": flat(load_settings(file))} for name, file in known().items()
    }
    if json_to is not None:
        with Outputs("recipes", files=[shared.json_file(json_to)], force=force):
            shared.write_json(json_to, found)
    if json_to == shared.STANDARD_OUTPUT:
        return 0
    for name, file in known().items():
        differing = [
            f"{setting}={str(value).lower() if isinstance(value, bool) else value}"
            for setting, value in flat(load_settings(file)).items()
            if value != default[setting]
        ]
        say(f"{name}  {file}", terminal())
        say(f"    {' '.join(differing) or 'what `lookonce train` uses without --recipe'}", terminal())
    return 0
