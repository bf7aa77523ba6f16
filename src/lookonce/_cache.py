"""The cache folder, for files that can be made or fetched again, and the end of what nobody uses.

```
   <cache>/darknet     ONNX graphs of Darknet models       deleted after 30 days without use
           unpacked    data sets unpacked from a zip       deleted after 30 days without use
           compiled    networks compiled by OpenVINO       the 16 used last are kept
           tensorrt    engines built by TensorRT
           plans       plans of `lookonce tune`
           models      weights that `lookonce fetch` downloaded
```
"""

import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

from lookonce._outputs import HIDDEN
from lookonce.errors import LookonceError

KEPT_DAYS = 30


def cache_folder() -> Path:
    """Return the cache folder, for files that can be made or fetched again.

    It is `LOOKONCE_CACHE` if set, else the user's cache.

    Raises:
        LookonceError: there is no home folder.
    """
    chosen = os.environ.get("LOOKONCE_CACHE")
    if chosen:
        return Path(chosen)
    # an empty or relative XDG_CACHE_HOME counts as unset (XDG Base Directory Specification)
    users = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if users.is_absolute():
        return users / "lookonce"
    try:
        return Path.home() / ".cache" / "lookonce"
    except RuntimeError as error:  # neither HOME nor an entry for this user
        raise LookonceError(
            "no home folder to cache files in: expected the environment variable HOME or LOOKONCE_CACHE"
        ) from error


def mark_used(entry: Path) -> None:
    """Record the time of use, which file systems often do not; a read-only cache still works."""
    with suppress(OSError):
        entry.touch()


def delete_unused(folder: Path, own: re.Pattern[str]) -> None:
    """Delete what was not used for `KEPT_DAYS` in a folder of the cache.

    Other processes may do the same at the same time.

    Args:
        folder: the folder.
        own: a pattern of the names that are given there; what a killed process left counts as well. Anything
            else stays: if `LOOKONCE_CACHE` names the folder of a project, its files may lie there, too.
    """
    oldest = time.time() - KEPT_DAYS * 24 * 3600
    for entry in folder.iterdir():
        with suppress(OSError):
            ours = own.fullmatch(entry.name) or entry.name.startswith(f"{HIDDEN}-")
            if ours and entry.lstat().st_mtime < oldest:
                if entry.is_dir():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
