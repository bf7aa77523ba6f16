"""Optional dependencies, and the line to type where one is missing."""

import sys
from importlib import import_module
from types import ModuleType

from lookonce.errors import MissingExtraError

# OpenVINO and NNCF report each import and use of them to their makers, over the network, by this package;
# where it cannot be imported they stay silent. So it cannot be imported in a process of lookonce.
REPORTING = "openvino_telemetry"


def require(module: str, extra: str) -> ModuleType:
    """Import an optional module.

    Raises:
        MissingExtraError: the module is not installed; the message is the pip line that installs it.
    """
    sys.modules.setdefault(REPORTING, None)  # type: ignore[arg-type] # None: "not installed"
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise MissingExtraError(
            f"this needs the package {error.name!r}: pip install 'lookonce[{extra}]'"
        ) from error
