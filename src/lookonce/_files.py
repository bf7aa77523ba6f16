"""Files that are either whole or absent."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` once the block ends without an error.

    The data reaches the disk before the rename, so a kill or a full disk leaves the earlier file, or none,
    but never half of one. The temporary name keeps the suffix, since some writers choose a format by it.

    Waiting for the disk can take longer than making a file. Not `durable` leaves that out, for files that
    come by the hundred and can be made again: a kill still leaves whole files, a power cut may not.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(
        dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix, delete=False
    ) as made:
        temporary = Path(made.name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # temporary files are private, and some writers make their own
        if durable:
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def leftovers(path: Path) -> list[Path]:
    """The temporary files and folders that processes killed within `replacing(path)` left behind."""
    return sorted(path.parent.glob(f".{escape(path.stem)}-*{path.suffix}"))


@contextmanager
def replacing_together(path: Path) -> Iterator[Path]:
    """As `replacing`, for a file that others belong to: yield its name in a new folder beside it.

    Once the block ends without an error, all that is in the folder moves to where `path` is, itself last.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}-") as folder:
        main = Path(folder) / path.name
        yield main
        for made in sorted(main.parent.iterdir(), key=lambda each: each == main):
            with made.open("rb") as written:
                os.fsync(written.fileno())
            made.replace(path.parent / made.name)


def remove_leftovers(path: Path) -> None:
    """Delete them; no other process may be writing the file."""
    for leftover in leftovers(path):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text in one piece: see `replacing`."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def encodable(text: str) -> str:
    r"""Text that UTF-8 can hold: a byte of a file name that is none becomes `\udcXX`, as JSON writes it."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def cache_folder() -> Path:
    """Where files are kept that can be made or fetched again: `LOOKONCE_CACHE`, else the user's cache."""
    chosen = os.environ.get("LOOKONCE_CACHE")
    if chosen:
        return Path(chosen)
    # an empty or relative XDG_CACHE_HOME counts as unset (XDG Base Directory Specification)
    users = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (users if users.is_absolute() else Path.home() / ".cache") / "lookonce"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
