"""Load settings from a recipe: a YAML file, changed by options and then by assignments such as `a.b=c`."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import BaseModel, ValidationError

from lookonce._files import read_text
from lookonce.config import AugmentSettings, TrainSettings
from lookonce.errors import ConfigError
from lookonce.networks import NETWORK_FILES

# Settings for training from the weights of a detector. In a short run with inputs in the shape of the images,
# a network would not learn, or would forget, that padding has no objects (benchmarks/padding.md).
FROM_DETECTOR = ("augment.rectangles=false",)


def load_settings(
    recipe: str | Path | None, assignments: Sequence[str] = (), **options: Any
) -> TrainSettings:
    """Load the default recipe, changed by a recipe, then by options, then by assignments.

    Args:
        recipe: YAML file with settings, or the name of a recipe in the package; None for the default recipe.
            Settings that are not in it keep the values of the default recipe.
        assignments: settings such as `a.b=c`, with values in YAML.
        options: top-level settings by name; None for one that is not given.

    Raises:
        ConfigError: the YAML cannot be read, a key is unknown, or a value is out of range; the message names
            the place.
    """
    tree = TrainSettings().model_dump(mode="json")
    file = recipe_file(recipe) if recipe else None
    for name, value in (read_recipe(file) if file else {}).items():
        tree[name] = _merged(name, tree.get(name), value)
    tree |= {name: value for name, value in options.items() if value is not None}
    for assignment in assignments:
        _assign(tree, assignment)
    try:
        return TrainSettings(**tree)
    except ValidationError as error:
        found = complaints(error, TrainSettings)
        of_file = file is not None and options.get(found.partition(":")[0]) is None
        raise ConfigError(f"{file}: {found}" if of_file else found) from error


def recipe_file(recipe: str | Path) -> Path:
    """Return the file of a recipe, given by the path of a YAML file or by its name in the package.

    Raises:
        ConfigError: there is no such recipe; the message lists the names.
    """
    path, known = Path(recipe), recipes()
    if path.suffix in (".yaml", ".yml") or path.exists():
        return path
    if str(recipe) not in known:
        raise ConfigError(
            f"{recipe}: expected a YAML file, or one of the recipes {', '.join(known)}, found neither"
        )
    return known[str(recipe)]


def recipes() -> dict[str, Path]:
    """Return the recipes in the package, by name."""
    package = Path(__file__).parent
    for folder in (package / "recipes", package.parents[1] / "recipes"):  # in a wheel, in a checkout
        if found := sorted(folder.glob("*.yaml")):
            return {path.stem: path for path in found}
    return {}


def read_recipe(file: Path) -> dict[str, Any]:
    """Read the settings of a recipe; the path of a network in it is relative to the recipe's folder.

    Raises:
        ConfigError: as in `read_yaml`.
    """
    tree = read_yaml(file)
    if Path(model := str(tree.get("model"))).suffix.lower() in NETWORK_FILES:
        tree["model"] = str(file.parent / model)
    return tree


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file with a mapping.

    Raises:
        ConfigError: the file is missing, is not YAML (the message names the line), or is not a mapping.
    """
    tree = _parsed(read_text(path, ConfigError), str(path))
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected settings as `name: value`, found {type(tree).__name__}")
    strange = [name for name in tree if not isinstance(name, str)]
    if strange:
        raise ConfigError(f"{path}: expected names, found {strange[0]!r}, which YAML does not read as text")
    return tree


def _parsed(text: str, place: str) -> Any:
    """Parse YAML; error messages begin with `place`."""
    try:
        return yaml.load(text, _YamlLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError for an impossible date
        raise ConfigError(f"{place}: not YAML: {' '.join(str(error).split())}") from error


class _YamlLoader(yaml.SafeLoader):
    """A loader that rejects aliases, a few lines of which can expand to gigabytes in an error message.

    It also rejects repeated keys, which YAML forbids; the library would keep the last one.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not read", self.get_mark())
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                problem = f"{key.value!r} more than once"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _assign(tree: dict[str, Any], assignment: str) -> None:
    """Apply an assignment such as `a.b=c` to a tree of settings, in place."""
    name, equals, value = assignment.partition("=")
    if not (name.strip() and equals):
        raise ConfigError(f"{assignment!r}: expected name=value")
    *sections, leaf = name.strip().split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{assignment}: {section} is a value, not a section")
    tree[leaf] = _merged(leaf, tree.get(leaf), _parsed(value, assignment))


def _merged(name: str, before: Any, value: Any) -> Any:
    """Return a changed setting: a section changes only its own settings, and a value replaces the old one."""
    if name == "augment" and value is False:
        return AugmentSettings.off().model_dump(mode="json")
    return before | value if isinstance(before, dict) and isinstance(value, dict) else value


EXPECTATIONS = {  # messages by pydantic's error type, in place of those in terms of Python
    "tuple_type": "expected a list, such as [0.6, 1.6]",
    "model_type": "expected a section with settings of its own",
    "float_parsing": "expected a number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "bool_parsing": "expected true or false",
}


def complaints(error: ValidationError, settings: type[BaseModel], section: str = "") -> str:
    """Describe all errors in settings or in a section of them, each with place, expected and found value."""
    described = []
    for problem in error.errors():
        place = ".".join(filter(None, (section, *map(str, problem["loc"]))))
        if problem["type"] == "extra_forbidden":
            *sections, name = map(str, problem["loc"])
            within = settings
            for part in sections:
                within = cast(type[BaseModel], within.model_fields[part].annotation)
            names = list(within.model_fields)
            expected = get_close_matches(name, names, n=1, cutoff=0.8) or [f"one of {', '.join(names)}"]
            described.append(f"{place}: expected {expected[0]}, found no such setting")
            continue
        own_words = EXPECTATIONS.get(problem["type"], problem["msg"]).removeprefix("Value error, ")
        expectation = own_words.replace("Input should be", "expected", 1)
        # lookonce's own messages already include the value found
        found = "" if problem["type"] == "value_error" else f", found {problem['input']!r}"
        described.append(": ".join(filter(None, (place, expectation))) + found)
    return "; ".join(described)
