"""Optional dependencies, and the line to type where one is missing."""

from importlib import import_module
from types import ModuleType

from lookonce.errors import MissingExtraError


def require(module: str, extra: str) -> ModuleType:
    """Import an optional module.

    Raises:
        MissingExtraError: the module is not installed; the message is the pip line that installs it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise MissingExtraError(
            f"this needs the package {error.name!r}: pip install 'lookonce[{extra}]'"
        ) from error
