"""The rules for output: no command replaces an input or a file of the user, or writes where another writes.

```python
with Outputs("evaluate", folder=out, files=[json_file], inputs=[model, data], force=force):
    ...  # write through `_files`
```

Within such a block, a file in the folder, or one of the single files, is replaced only if the same command
wrote it and nobody has changed it since, or with `--force`; an input of the run is never replaced. Written
files are listed in a hidden file, `.lookonce`, in the folder or beside a single file: one JSON object per
line with command, name, size and time of change. Outside such a block nothing is checked or listed, and the
library replaces any file that its caller names.

The folder and each single file are locked during the block. The lock is held by the operating system (POSIX
record locks, byte locks on Windows), so it ends with the process, even if that is killed; its lock file is
then reused. The lock file names the process and the host, for error messages. On a file system without locks,
nothing is locked.
"""

import errno
import json
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from glob import escape
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self
from zlib import crc32

from lookonce.errors import ConfigError

HIDDEN = ".lookonce"  # prefix of every name in an output folder that is not a result

LONGEST_LIST = 1 << 30  # bytes; a list of a million files has a tenth of this

_PARTNERS = (".weights", ".bin", ".ncnn.bin", ".names")  # files that belong to a model file beside them
_BUSY = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)

_Stamp = tuple[int, int]  # size in bytes, and time of change in nanoseconds


class Outputs(AbstractContextManager["Outputs"]):
    """All files that one run of a command writes. Use it in a `with` block around the run."""

    def __init__(
        self,
        command: str,
        *,
        folder: Path | None = None,
        files: Iterable[Path | None] = (),
        inputs: Iterable[Path | None] = (),
        force: bool | None = None,
        resume: bool = False,
    ) -> None:
        """Describe the run.

        Args:
            command: name of the command; files of another command are foreign.
            folder: folder that the run writes to, at any depth; created if it does not exist.
            files: single files that the run writes; None is ignored.
            inputs: files and folders that the run reads; None is ignored. Files in such a folder count as
                inputs unless this command wrote them.
            force: whether to replace foreign files; None if the command has no such option, so that messages
                do not mention it.
            resume: whether to continue an earlier run, and thus to replace any file in the folder. It may
                have come from another machine, whose list of written files is not valid here.
        """
        self._command, self._force, self._resume = command, force, resume
        self._folder = folder and folder.absolute()
        self._files = [file.absolute() for file in files if file is not None]
        read = [path for path in inputs if path is not None]
        self._inputs = {key for path in read for key in _identities(path)}
        self._input_folders = [Path(os.path.realpath(path)) for path in read if path.is_dir()]
        self._listed: dict[Path, dict[str, _Stamp]] = {}
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        """Lock the folder and the files, and check the single files.

        Raises:
            ConfigError: another run is writing there, or a single file must not be replaced.
        """
        with ExitStack() as stack:
            if self._folder is not None:
                if os.path.lexists(self._folder) and not self._folder.is_dir():
                    raise ConfigError(f"{self._folder}: expected a folder, found a file")
                stack.enter_context(Lock(self._folder / f"{HIDDEN}.lock", self._folder))
            for number, file in enumerate(self._files):
                if file in self._files[:number]:
                    raise ConfigError(f"{file}: expected one result for this file, found two")
                self.check(file)
                name = f"{HIDDEN}-{crc32(os.fsencode(file.name)):08x}.lock"
                stack.enter_context(Lock(file.parent / name, file))
                remove_leftovers(file)
            _running.append(self)
            stack.callback(_running.remove, self)
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def covers(self, path: Path) -> bool:
        """Return whether the rules apply to a path."""
        path = path.absolute()
        if self._folder is None or not path.is_relative_to(self._folder):
            return path in self._files
        # files in hidden folders are unfinished, and are moved later
        return not any(part.startswith(HIDDEN) for part in path.relative_to(self._folder).parts)

    def check(self, path: Path) -> None:
        """Check that a file may be written.

        Raises:
            ConfigError: the file is an input of the run, or exists and was not written by this command.
        """
        try:
            found = path.lstat()
        except FileNotFoundError:
            return
        root, name = self._listing(path)
        stamp = self._lines(root).get(name)
        there = Path(os.path.realpath(path))
        within = stamp is None and any(there.is_relative_to(folder) for folder in self._input_folders)
        if within or set(_identities(path, partners=False)) & self._inputs:
            raise ConfigError(f"{path}: an input of this run; choose another path for the output")
        may_replace = self._force or (self._resume and root == self._folder)
        if not stat.S_ISREG(found.st_mode) and not (may_replace and stat.S_ISLNK(found.st_mode)):
            raise ConfigError(f"{path}: expected a file or nothing at this path, found something else")
        if may_replace or stamp == (found.st_size, found.st_mtime_ns):
            return
        remedy = "choose another place" if self._force is None else "--force replaces it"
        origin = (
            f"was not written by lookonce {self._command}"
            if stamp is None
            else "was changed since it was written"
        )
        raise ConfigError(f"{path}: exists and {origin}; {remedy}")

    def record(self, path: Path, written: os.stat_result) -> None:
        """List a finished file that is about to be renamed to `path`."""
        root, name = self._listing(path)
        stamp = written.st_size, written.st_mtime_ns
        self._lines(root)[name] = stamp
        entry = {"command": self._command, "file": name, "size": stamp[0], "modified": stamp[1]}
        _check_plain(root / HIDDEN)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)  # may be a link now
        with naming(root / HIDDEN), os.fdopen(os.open(root / HIDDEN, flags, 0o666), "ab") as listed:
            listed.write((json.dumps(entry) + "\n").encode())

    def _listing(self, path: Path) -> tuple[Path, str]:
        """Return the folder whose list contains the file, and the file's name in that list."""
        path = path.absolute()
        folder = self._folder
        root = folder if folder is not None and path.is_relative_to(folder) else path.parent
        return root, path.relative_to(root).as_posix()

    def _lines(self, root: Path) -> dict[str, _Stamp]:
        """Return the listed files that this command wrote; malformed lines are skipped."""
        if root not in self._listed:
            files = self._listed[root] = {}
            _check_plain(root / HIDDEN)
            with suppress(OSError):
                for line in (root / HIDDEN).read_text(encoding="utf-8", errors="replace").splitlines():
                    with suppress(ValueError, KeyError, TypeError):
                        entry = json.loads(line)
                        if entry["command"] == self._command:
                            files[entry["file"]] = int(entry["size"]), int(entry["modified"])
                        else:
                            files.pop(entry["file"], None)
        return self._listed[root]


_running: list[Outputs] = []  # the innermost is last, because a command can call another


def check_output(path: Path) -> None:
    """Check a file that is about to be written by the rules of the running command, if there is one.

    Raises:
        ConfigError: the file must not be written; see `Outputs.check`.
    """
    if (outputs := _outputs_of(path)) is not None:
        outputs.check(path)


def record_output(path: Path, written: os.stat_result) -> None:
    """List a file as written by the running command, if there is one, with the size and time in `written`."""
    if (outputs := _outputs_of(path)) is not None:
        outputs.record(path, written)


def is_vacant(folder: Path) -> bool:
    """Return whether a folder does not exist, or only has hidden files of a stopped or running command."""
    if not folder.is_dir():
        return not os.path.lexists(folder)
    return all(each.name.startswith(HIDDEN) for each in folder.iterdir())


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add a path to a system error without one, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _check_plain(path: Path) -> None:
    """Check that a hidden file does not exist, or is a regular file of bounded size.

    A FIFO would block, and a link could lead anywhere.

    Raises:
        ConfigError: the path is something else.
    """
    with suppress(FileNotFoundError):
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > LONGEST_LIST:
            raise ConfigError(f"{path}: expected a file that lookonce wrote, found something else")


class Lock(AbstractContextManager["Lock"]):
    """A lock on a folder or file, so that only one process at a time writes to it.

    Raises:
        ConfigError: on entry, if the lock is already held.
    """

    _held: ClassVar[set[Path]] = set()  # record locks do not exclude the same process

    def __init__(self, path: Path, target: Path) -> None:
        """Set the path of the lock file, and the path that it protects, for messages."""
        self._path, self._target = path, target
        self._descriptor = -1
        self._made: list[Path] = []

    def __enter__(self) -> Self:
        self._path = Path(os.path.realpath(self._path.parent)) / self._path.name
        if self._path in self._held:
            raise ConfigError(f"{self._target}: this process is writing there already")
        folder = self._path.parent
        self._made = [each for each in (folder, *folder.parents) if not each.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            while self._descriptor < 0:
                self._descriptor = self._take()
        except OSError as error:
            raise ConfigError(f"{self._target}: cannot be written: {error.strerror}") from error
        with suppress(OSError):  # a full disk, which does not affect the lock
            os.ftruncate(self._descriptor, 0)
            from socket import gethostname

            os.write(self._descriptor, f"process {os.getpid()} on {gethostname()}\n".encode())
        self._held.add(self._path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.discard(self._path)
        if sys.platform == "win32":  # an open file cannot be deleted on Windows
            os.close(self._descriptor)
        with suppress(OSError):
            self._path.unlink()
        if sys.platform != "win32":
            os.close(self._descriptor)
        with suppress(OSError):  # usually not empty
            for folder in self._made:
                folder.rmdir()

    def _take(self) -> int:
        """Open and lock the file, and return its descriptor; -1 if its last holder deleted it meanwhile."""
        _check_plain(self._path)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            _lock(descriptor)
        except OSError as error:
            if error.errno in _BUSY:
                holder = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
                os.close(descriptor)
                raise ConfigError(
                    f"{self._target}: {holder} is writing there; wait for it, or choose another path"
                ) from None
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), self._path.stat()):
                return descriptor
        os.close(descriptor)
        return -1


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        """Lock a byte after the text, because on Windows no other process can read a locked byte."""
        os.lseek(descriptor, 1000, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        """Lock the file for this process; child processes do not inherit the lock, so none can outlive it."""
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def temporary_prefix(path: Path) -> str:
    """Return the prefix of a file's temporary names, which is short, but unique to the file."""
    return f"{HIDDEN}-{path.stem[:24]}-{crc32(os.fsencode(path.name)):08x}-"


def leftovers(path: Path) -> list[Path]:
    """Return the temporary files and folders left by processes that were killed in `replacing(path)`."""
    return sorted(path.parent.glob(f"{escape(temporary_prefix(path))}*"))


def remove_leftovers(path: Path) -> None:
    """Delete the `leftovers` of a file, which no other process may be writing."""
    import shutil

    for leftover in leftovers(path):
        if leftover.is_dir() and not leftover.is_symlink():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()


def _outputs_of(path: Path) -> Outputs | None:
    return next((each for each in reversed(_running) if each.covers(path)), None)


def _identities(path: Path, *, partners: bool = True) -> list[tuple[int, int]]:
    """Return (device, inode) of a file, and with `partners` also of the other files of the same model."""
    found = []
    for each in (path, *(path.with_suffix(suffix) for suffix in _PARTNERS if partners and path.suffix)):
        with suppress(OSError, ValueError):
            about = each.stat()
            if not stat.S_ISDIR(about.st_mode):
                found.append((about.st_dev, about.st_ino))
    return found
