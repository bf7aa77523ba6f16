"""A cache of the networks that OpenVINO compiled, for later processes.

Compiling a network with many layers takes longer than everything else before its first result
(`benchmarks/startup.md`).

```
   <cache>/compiled/<hash of everything that determines the result>.blob      its SHA-256, then the network
```

OpenVINO hardly checks such files. So a file with a wrong checksum counts as missing, and the folder is used
only if it belongs to this user and nobody else can write to it. Without such a folder, or on a full disk,
networks are compiled every time.
"""

import hashlib
import os
import re
import stat
from contextlib import suppress
from pathlib import Path

from lookonce._cache import cache_folder, mark_used, own_entries
from lookonce._files import read_bytes, replacing
from lookonce.errors import LookonceError
from lookonce.runtime.cpu import this_cpu
from lookonce.runtime.plans import ModelKey

LARGEST_MODEL = 16 << 20  # bytes; reading the files of a larger model takes as long as compiling it
LARGEST_FILE = 4 * LARGEST_MODEL
MOST_FILES = 16
COMPILED = re.compile(r"[0-9a-f]{64}\.blob")
CHECKSUM = hashlib.sha256().digest_size


def model_content(path: Path) -> str | None:
    """Return a hash of a model's files; None if the model is too large to cache, or cannot be read."""
    try:
        key = ModelKey.of(path)
        return key.name() if key.size <= LARGEST_MODEL else None
    except (OSError, LookonceError):
        return None


def compiled_file(*dependencies: object) -> Path | None:
    """Return the cache file of a network on this CPU; None if this user has no private cache folder.

    Args:
        dependencies: everything else that the network depends on: content, version, settings, shape.
    """
    if not hasattr(os, "geteuid"):  # Windows, whose permissions are not checked here
        return None
    name = hashlib.sha256(repr((str(this_cpu()), *dependencies)).encode()).hexdigest()
    try:
        folder = cache_folder() / "compiled"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.lstat()
    except (OSError, LookonceError):
        return None
    writable_by_others = about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    private = stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid() and not writable_by_others
    return folder / f"{name}.blob" if private else None


def read_compiled(path: Path) -> bytes | None:
    """Return the network that `write_compiled` stored; None if it is missing or damaged."""
    try:
        content = memoryview(read_bytes(path, limit=LARGEST_FILE))
    except LookonceError:
        return None
    blob = bytes(content[CHECKSUM:])
    if hashlib.sha256(blob).digest() != content[:CHECKSUM]:
        return None
    mark_used(path)
    return blob


def write_compiled(path: Path, blob: bytes) -> None:
    """Store a compiled network, and keep only the `MOST_FILES` most recently used; ignore failures."""
    if len(blob) + CHECKSUM > LARGEST_FILE:
        return
    with suppress(OSError, LookonceError):
        with replacing(path, durable=False) as temporary:
            temporary.write_bytes(hashlib.sha256(blob).digest() + blob)
        own = own_entries(path.parent, COMPILED)
        for file in sorted(own, key=lambda file: file.stat().st_mtime)[:-MOST_FILES]:
            file.unlink()
