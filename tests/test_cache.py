"""The cache: its place, and the deletion of old files."""

import os
import re
import time
import zipfile
from pathlib import Path

import pytest

from lookonce._cache import KEPT_DAYS, cache_folder, delete_unused
from lookonce.annotations.archive import unpack
from lookonce.errors import LookonceError

LONG_AGO = time.time() - (KEPT_DAYS + 1) * 24 * 3600


def test_without_a_home_the_cache_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "USERPROFILE", "LOOKONCE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as for an unknown user id
    with pytest.raises(LookonceError, match="LOOKONCE_CACHE"):
        cache_folder()
    monkeypatch.setenv("LOOKONCE_CACHE", "here")
    assert cache_folder() == Path("here")


def test_only_own_entries_unused_for_long_are_deleted(tmp_path: Path) -> None:
    for name in ("aa", "bb", "cc", "project"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    (tmp_path / "dd").touch()
    outside = tmp_path / "project"
    (tmp_path / "ee").symlink_to(outside)
    for name in ("bb", "project", "dd"):
        os.utime(tmp_path / name, (LONG_AGO, LONG_AGO))
    os.utime(tmp_path / "ee", (LONG_AGO, LONG_AGO), follow_symlinks=False)
    delete_unused(tmp_path, re.compile("[a-z]{2}"))
    assert sorted(path.name for path in tmp_path.iterdir() if not path.is_symlink()) == [
        "aa",
        "cc",
        "project",
    ]
    assert (outside / "file").exists()  # a link is not followed


def test_an_unpacked_archive_in_use_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "cache"))
    archives = [tmp_path / name for name in ("used.zip", "unused.zip", "new.zip")]
    for path in archives:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.txt", path.name)
            archive.writestr("b.txt", path.name)
    used, unused = unpack(archives[0]), unpack(archives[1])
    for folder in (used, unused):
        os.utime(folder.parent, (LONG_AGO, LONG_AGO))
    unpack(archives[0])
    new = unpack(archives[2])
    assert (used / "a.txt").exists()
    assert (new / "a.txt").exists()
    assert not unused.parent.exists()
    assert (unpack(archives[1]) / "a.txt").exists()
