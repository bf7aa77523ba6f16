from pathlib import Path

import pytest

from lookonce.darknet.names import find_names
from lookonce.errors import ModelFileError


@pytest.fixture
def cfg(tmp_path: Path) -> Path:
    return tmp_path / "model.cfg"


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")


def test_without_a_file_names_are_numbers(cfg: Path) -> None:
    assert find_names(cfg, 3) == (("0", "1", "2"), None)


def test_a_names_file_of_the_same_name_comes_first(cfg: Path) -> None:
    write(cfg.parent, model__names="a\nbig dog\r\n\n", obj__data="names=obj.names", obj__names="x\ny")

    assert find_names(cfg, 2) == (("a", "big dog"), cfg.with_suffix(".names"))


def test_repeated_class_names_are_numbered(cfg: Path) -> None:
    write(cfg.parent, model__names="crane\ndog\ncrane\ncrane\n")

    assert find_names(cfg, 4)[0] == ("crane", "dog", "crane (2)", "crane (3)")


def test_a_names_file_of_the_same_name_must_fit(cfg: Path) -> None:
    write(cfg.parent, model__names="a\nb\n")

    with pytest.raises(
        ModelFileError, match=r"model.names: expected 3 class names, as in model.cfg, found 2"
    ):
        find_names(cfg, 3)


@pytest.mark.parametrize("data", ["obj__data", "model__data"])
@pytest.mark.parametrize("pointer", ["obj.names", "data/obj.names", "/nowhere/obj.names"])
def test_a_data_file_points_to_the_names(cfg: Path, data: str, pointer: str) -> None:
    write(
        cfg.parent, **{data: f"classes = 2\nnames = {pointer}\n"}, obj__names="Käfer\nb", more__names="x\ny"
    )

    assert find_names(cfg, 2) == (("Käfer", "b"), cfg.with_name("obj.names"))


def test_a_data_file_of_another_model_is_ignored(cfg: Path) -> None:
    write(cfg.parent, obj__data="names=obj.names", obj__names="x\ny")
    assert find_names(cfg, 3) == (("0", "1", "2"), None)

    write(cfg.parent, obj__data="train=train.txt")
    assert find_names(cfg, 3) == (("0", "1", "2"), None)


def test_a_data_file_of_the_same_name_must_lead_to_names(cfg: Path) -> None:
    for name in ("gone.names", "a" * 5000):
        write(cfg.parent, model__data=f"names={name}")
        with pytest.raises(ModelFileError, match=f"names={name}: no such file"):
            find_names(cfg, 2)

    write(cfg.parent, model__data="train=train.txt")
    with pytest.raises(ModelFileError, match="expected a line names = FILE"):
        find_names(cfg, 2)


def test_the_only_fitting_names_in_the_folder_are_used(cfg: Path) -> None:
    write(cfg.parent, three__names="a\nb\nc\n", two__names="x\ny\n")
    assert find_names(cfg, 3) == (("a", "b", "c"), cfg.with_name("three.names"))

    write(cfg.parent, other__names="d\ne\nf\n")
    assert find_names(cfg, 3) == (("0", "1", "2"), None)


def test_coco_names_are_found_beside_the_official_files(data: Path) -> None:
    names, file = find_names(data / "darknet" / "yolov3.cfg", 80)

    assert file is not None
    assert (names[0], names[79], file.name) == ("person", "toothbrush", "coco.names")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\0\1", ":1: expected a class name"),
        ("Käfer\nb".encode("latin-1"), "expected UTF-8 text, found the byte 0xe4 at 1"),
    ],
)
def test_files_that_hold_no_names_are_refused(content: bytes, what: str, cfg: Path) -> None:
    cfg.with_name("x.names").write_bytes(content)
    assert find_names(cfg, 2)[1] is None

    cfg.with_suffix(".names").write_bytes(content)
    with pytest.raises(ModelFileError, match=f"model.names.*{what}"):
        find_names(cfg, 2)


def test_comments_in_a_data_file_are_skipped(cfg: Path) -> None:
    write(cfg.parent, model__data="# names = old.names\n;x\nnames = new.names\n", new__names="n\u0303u\nb\n")
    assert find_names(cfg, 2) == (("ñu", "b"), cfg.with_name("new.names"))
