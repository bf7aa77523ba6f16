"""Test that a zip is unpacked atomically, even by several processes."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lookonce._terminal import printable
from lookonce.annotations import open_annotations
from lookonce.annotations.archive import unpack
from lookonce.errors import AnnotationError
from lookonce.images import write_image

COUNT = 300
KILLED = """
import os, sys
from pathlib import Path
from lookonce.annotations import archive

copy, done = archive.shutil.copyfileobj, []

def killed_copy(*about):
    done.append(copy(*about))
    if len(done) == 100:
        os._exit(9)

archive.shutil.copyfileobj = killed_copy
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


def test_a_killed_unpack_is_done_again(archive: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, str(archive)], check=False).returncode == 9
    assert len(list(unpack(archive).iterdir())) == COUNT


@pytest.mark.parametrize("comment", [b"", b"a comment" * 100], ids=["plain", "with a comment"])
@pytest.mark.parametrize("limit", [COUNT, COUNT - 1])
def test_the_members_are_counted_before_they_are_listed(
    archive: Path, comment: bytes, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(archive, "a") as made:
        made.comment = comment
    monkeypatch.setattr("lookonce.annotations.archive.MOST_FILES", limit)
    if limit < COUNT:
        monkeypatch.setattr(zipfile.ZipFile, "infolist", None)  # not reached
        with pytest.raises(AnnotationError, match=f"expected at most {limit} files, found {COUNT}$"):
            unpack(archive)
    else:
        assert len(list(unpack(archive).iterdir())) == COUNT


def test_more_than_65535_members_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as made:
        for number in range(70_000):
            made.writestr(str(number), "")
    monkeypatch.setattr("lookonce.annotations.archive.MOST_FILES", 69_999)
    with pytest.raises(AnnotationError, match=r"expected at most 69,999 files, found 70,000$"):
        unpack(tmp_path / "set.zip")


def test_several_processes_unpack_at_once(archive: Path) -> None:
    command = [sys.executable, "-c", UNPACK, str(archive)]
    ranks = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [rank.communicate()[0].strip() for rank in ranks] == [str(COUNT)] * 3


def test_an_empty_zip_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "cache"))
    zipfile.ZipFile(tmp_path / "set.zip", "w").close()
    with pytest.raises(AnnotationError, match="expected a zip of a data set, found no file in it"):
        unpack(tmp_path / "set.zip")


CVAT = """<annotations><version>1.1</version>
<image id="0" name="a.jpg" width="64" height="48">
<box label="cell" xtl="1" ytl="2" xbr="30" ybr="40" occluded="0"/>
<box label="cell" xtl="9" ytl="9" xbr="9" ybr="20" occluded="0"/></image></annotations>"""


@pytest.mark.parametrize(
    ("member", "content", "message"),
    [
        (
            "annotations.xml",
            CVAT,
            r"^.*/set\.zip/annotations\.xml: its only image was not found",
        ),
        ("photos/a.jpg", "", r"^.*/set\.zip: 1 image, no annotations: label "),
        ("notes.md", "", r"^.*/set\.zip: expected a dataset YAML"),
    ],
)
def test_errors_name_the_archive_not_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, member: str, content: str, message: str
) -> None:
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "cache"))
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as made:
        made.writestr(member, content)
    with pytest.raises(AnnotationError, match=message) as raised:
        open_annotations(tmp_path / "set.zip").load(None)
    assert "cache" not in str(raised.value)


def test_problems_name_the_archive_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "cache"))
    write_image(tmp_path / "a.jpg", np.zeros((48, 64, 3), np.uint8))
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as made:
        made.writestr("annotations.xml", CVAT)
        made.write(tmp_path / "a.jpg", "images/a.jpg")
    (problem,) = open_annotations(tmp_path / "set.zip").load(None).problems
    assert printable(problem.place) == f"{tmp_path}/set.zip/annotations.xml: image 0: box 2"


def test_a_zip_with_backslashes_opens_and_cannot_escape_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some Windows programs write backslashes."""
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "cache"))

    def zipped(name: str, *members: str) -> Path:
        with zipfile.ZipFile(tmp_path / name, "w") as made:
            for member in members:
                made.writestr(zipfile.ZipInfo(member), "text" * (member[-1] != "\\"))
        return tmp_path / name

    folder = unpack(zipped("good.zip", "labels\\", "labels\\a.txt", "images\\b.txt"))
    assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*.txt")) == [
        "images/b.txt",
        "labels/a.txt",
    ]
    for member in ("..\\a.txt", "x\\..\\..\\a.txt", "\\a.txt", "C:\\a.txt"):
        with pytest.raises(AnnotationError, match="points outside the folder"):
            unpack(zipped("bad.zip", "good.txt", member))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bzip2_or_lzma_member_is_refused(tmp_path: Path, method: int) -> None:
    """450 bytes of bzip2 took 0.9 GB, and may unpack to more than they declare."""
    with zipfile.ZipFile(tmp_path / "set.zip", "w", method) as made:
        made.writestr("coco.json", " " * 1000)
    with pytest.raises(
        AnnotationError, match=r"set\.zip: expected members stored or deflated, found 'coco.json'"
    ):
        unpack(tmp_path / "set.zip")
