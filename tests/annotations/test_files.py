from pathlib import Path

import pytest

from lookonce._texts import read_lines, read_names
from lookonce.annotations.files import by_split, find_names, split_in
from lookonce.errors import AnnotationError


def test_byte_order_mark_and_windows_line_ends_are_removed(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("\ufeffcafé.jpg\r\n\r\n b c.jpg \x0c d.jpg".encode())
    assert list(read_lines(file)) == [(1, "café.jpg"), (3, "b c.jpg \x0c d.jpg")]


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"")
    assert list(read_lines(tmp_path / "a.txt")) == []


def test_unreadable_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("né".encode("latin-1"))
    with pytest.raises(AnnotationError, match=r"latin.txt: expected UTF-8 text, found the byte 0xe9 at 1"):
        list(read_lines(tmp_path / "latin.txt"))
    with pytest.raises(AnnotationError, match=r"no.txt: cannot be read: No such file"):
        list(read_lines(tmp_path / "no.txt"))
    with pytest.raises(AnnotationError, match="expected a file, found a folder"):
        list(read_lines(tmp_path))


def test_class_names_are_read_one_per_line(tmp_path: Path, data: Path) -> None:
    (tmp_path / "a.names").write_text("traffic light\nñandú\n\n")
    assert read_names(tmp_path / "a.names") == ("traffic light", "ñandú")
    assert read_names(data / "heads" / "heads.names") == ("head",)
    assert len(read_names(data / "darknet" / "coco.names")) == 80


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "expected class names, found none"),
        ("cat\n\ndog", ":2: expected a class name before 'dog', found a blank line"),
        ("cat\ndog\ncat", "found 'cat' again"),
        ("n\u0303u\n\u00f1u", "found 'ñu' again"),
        ("cat\n\0", r":2: expected a class name, found '\\x00'"),
    ],
)
def test_unusable_class_names_are_errors(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "a.names").write_text(text)
    with pytest.raises(AnnotationError, match=what):
        read_names(tmp_path / "a.names")


def test_classes_txt_or_the_only_names_file_is_found(tmp_path: Path) -> None:
    assert find_names(tmp_path) is None
    (tmp_path / "b.names").touch()
    assert find_names(tmp_path / "not there", tmp_path) == tmp_path / "b.names"
    (tmp_path / "c.names").touch()
    assert find_names(tmp_path) is None
    (tmp_path / "classes.txt").touch()
    assert find_names(tmp_path) == tmp_path / "classes.txt"


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("train", "train"),
        ("instances_val2017", "val"),
        ("VALID", "val"),
        ("trainval_coco", "trainval"),
        ("images/test", "test"),
        ("training", "train"),
        ("constrain", None),
        ("_annotations.coco", None),
    ],
)
def test_the_split_is_recognized_in_a_name(text: str, split: str | None) -> None:
    assert split_in(text) == split


def test_splits_come_in_their_usual_order() -> None:
    assert by_split({"zebra", "test", "all", "val", "train"}) == ["train", "val", "test", "all", "zebra"]
