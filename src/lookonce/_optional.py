"""Import optional dependencies, and name the command that installs a missing one."""

import json
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

from lookonce.errors import MissingExtraError

# OpenVINO and NNCF send reports of each import and use through this package, and none without it. So lookonce
# makes importing it fail.
REPORTING = "openvino_telemetry"


def require(module: str, extra: str | None = None) -> ModuleType:
    """Import an optional module.

    Args:
        module: name of the module.
        extra: extra of lookonce that installs it; None if no extra does.

    Raises:
        MissingExtraError: the module is not installed; the message has the pip command that installs it.
    """
    sys.modules.setdefault(REPORTING, None)  # type: ignore[arg-type] # None: "not installed"
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        line = f"pip install {error.name}" if extra is None else install_line(extra)
        raise MissingExtraError(f"this needs the package {error.name!r}: {line}") from error


def install_line(extra: str) -> str:
    """Return the pip command that adds an extra to this installation of lookonce.

    The command has the path of a wheel or checkout, or the URL of a repository, because the package index may
    not have lookonce. PEP 610 records the origin of an installed package.
    """
    import shlex  # imported here because these are slow to import and seldom needed
    from importlib.metadata import PackageNotFoundError, distribution
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    try:
        origin = json.loads(distribution("lookonce").read_text("direct_url.json") or "{}")
        url = urlsplit(origin.get("url", ""))
    except (PackageNotFoundError, ValueError, AttributeError):
        origin, url = {}, urlsplit("")
    if vcs := origin.get("vcs_info"):
        source = f"{vcs['vcs']}+{url.geturl()}@{vcs['commit_id']}"
        return f"pip install {shlex.quote(f'lookonce[{extra}] @ {source}')}"
    if url.scheme == "file" and Path(path := url2pathname(url.path)).exists():
        editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
        return f"pip install {editable}{shlex.quote(f'{path}[{extra}]')}"
    return f"pip install 'lookonce[{extra}]'"
