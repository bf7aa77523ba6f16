"""The cache folder, for files that can be made or downloaded again, and the deletion of unused ones.

```
   <cache>/darknet     ONNX graphs of Darknet models       deleted after 30 days without use
           unpacked    data sets unpacked from a .zip      deleted after 30 days without use
           compiled    networks compiled by OpenVINO       all but the 16 most recently used are deleted
           tensorrt    engines built by TensorRT
           plans       plans of `lookonce tune`
           models      weights downloaded by `lookonce fetch`
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
    """Return the cache folder: `LOOKONCE_CACHE` if set, else a folder in the user's cache.

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
    """Set the time of the last use, which file systems often do not record; ignore a read-only cache."""
    with suppress(OSError):
        entry.touch()


def own_entries(folder: Path, names: re.Pattern[str]) -> Iterator[Path]:
    """Yield the entries that lookonce made in a folder of the cache, including leftovers of killed processes.

    Nothing else may be deleted, because `LOOKONCE_CACHE` may be a folder with other files.

    Args:
        folder: folder in the cache.
        names: pattern of the names that lookonce uses there.
    """
    for entry in folder.iterdir():
        if names.fullmatch(entry.name) or entry.name.startswith(f"{HIDDEN}-"):
            yield entry


def delete_unused(folder: Path, names: re.Pattern[str]) -> None:
    """Delete the `own_entries` not used for `KEPT_DAYS` days, perhaps at the same time as other processes."""
    import shutil  # imported here because opening a model does not need it

    oldest = time.time() - KEPT_DAYS * 24 * 3600
    for entry in own_entries(folder, names):
        with suppress(OSError):
            if entry.lstat().st_mtime < oldest:
                if entry.is_dir():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
