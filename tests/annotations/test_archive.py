"""A zip is unpacked whole or not at all, by any number of processes."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lookonce.annotations.archive import unpack
from lookonce.errors import AnnotationError

COUNT = 300
KILLED = """
import os, sys
from pathlib import Path
from lookonce.annotations import archive

copy, done = archive._copy, []

def killed_copy(*about):
    done.append(copy(*about))
    if len(done) == 100:
        os._exit(9)

archive._copy = killed_copy
archive.unpack(Path(sys.argv[1]))
"""
UNPACK = """
import sys
from pathlib import Path
from lookonce.annotations.archive import unpack

print(len(list(unpack(Path(sys.argv[1])).iterdir())))
"""


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "cache"))
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as made:
        for number in range(COUNT):
            made.writestr(f"set/{number}.txt", "text")
    return tmp_path / "set.zip"


def test_a_killed_process_leaves_nothing_that_counts_as_unpacked(archive: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, str(archive)], check=False).returncode == 9
    assert len(list(unpack(archive).iterdir())) == COUNT


def test_several_processes_unpack_at_once(archive: Path) -> None:
    command = [sys.executable, "-c", UNPACK, str(archive)]
    ranks = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [rank.communicate()[0].strip() for rank in ranks] == [str(COUNT)] * 3


def test_an_empty_zip_is_no_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "cache"))
    zipfile.ZipFile(tmp_path / "set.zip", "w").close()
    with pytest.raises(AnnotationError, match="expected a zip of a data set, found no file in it"):
        unpack(tmp_path / "set.zip")
