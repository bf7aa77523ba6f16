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
import time
from collections.abc import Iterator
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


def own_entries(folder: Path, names: re.Pattern[str]) -> Iterator[Path]:
    """Yield what lookonce made in a folder of the cache, also what a killed process left there.

    Nothing else may be deleted: if `LOOKONCE_CACHE` names a project's folder, its files may lie there, too.

    Args:
        folder: the folder.
        names: pattern of the names that are given there.
    """
    for entry in folder.iterdir():
        if names.fullmatch(entry.name) or entry.name.startswith(f"{HIDDEN}-"):
            yield entry


def delete_unused(folder: Path, names: re.Pattern[str]) -> None:
    """Delete the `own_entries` not used for `KEPT_DAYS`; other processes may do the same at the same time."""
    import shutil  # not needed to open a model

    oldest = time.time() - KEPT_DAYS * 24 * 3600
    for entry in own_entries(folder, names):
        with suppress(OSError):
            if entry.lstat().st_mtime < oldest:
                if entry.is_dir():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
