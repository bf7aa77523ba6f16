from pathlib import Path

import pytest

from lookonce.darknet.cfg import parse_cfg, read_cfg
from lookonce.darknet.sections import (
    AvgPool,
    Convolutional,
    Dropout,
    MaxPool,
    Net,
    Route,
    Shortcut,
    Upsample,
    Yolo,
)
from lookonce.errors import ModelFileError

NET = "[net]\nwidth=416\nheight=320\n"  # three lines; the text after it begins on line 4


@pytest.mark.parametrize(
    ("name", "layers", "ignored"),
    [
        ("yolov3", 107, 18),
        ("yolov3-spp", 114, 18),
        ("yolov3-tiny", 24, 18),
        ("yolov3-voc", 107, 18),
        ("yolov3-openimages", 107, 18),  # [net] repeats batch and subdivisions
        ("MobileNetV2-YOLOv3-Nano-coco", 80, 24),
        ("yolo-fastest-1.1-xl", 131, 25),
    ],
)
def test_real_files_are_read(data: Path, name: str, layers: int, ignored: int) -> None:
    cfg = read_cfg(data / "darknet" / f"{name}.cfg")

    assert len(cfg.layers) == layers
    assert sum(map(len, cfg.ignored.values())) == ignored


def test_the_values_of_a_real_file_are_read(data: Path) -> None:
    cfg = read_cfg(data / "darknet" / "yolov3-tiny.cfg")

    assert cfg.net == Net(width=416, height=416)
    assert cfg.layers[11] == MaxPool(size=2, stride=1, padding=1)
    assert cfg.layers[15] == Convolutional(255, 1, 1, 0, 1, False, "linear")
    assert cfg.layers[16] == Yolo(((81, 82), (135, 169), (344, 319)), 80, 1.0)
    assert cfg.layers[20] == Route((-1, 8), 1, 0)
    assert cfg.layers[16].line == 132
    assert cfg.ignored["yolo"] == ["jitter", "ignore_thresh", "truth_thresh", "random"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[convolutional]\nfilters=4", Convolutional(4, 1, 1, 0, 1, False, "logistic")),
        (
            "[convolutional]\nfilters=4\nsize=5\npad=1\npadding=9",
            Convolutional(4, 5, 1, 2, 1, False, "logistic"),
        ),
        ("[convolutional]\nfilters=4\nsize=5\npadding=9", Convolutional(4, 5, 1, 9, 1, False, "logistic")),
        ("[convolutional]\nfilters=4\nbatch_normalize=2", Convolutional(4, 1, 1, 0, 1, True, "logistic")),
        (
            "[convolutional]\nfilters = 8 # eight\n groups= 2\nactivation=mish",
            Convolutional(8, 1, 1, 0, 2, False, "mish"),
        ),
        ("[shortcut]\nfrom=-2,-3", Shortcut((-2, -3), "linear")),
        ("[route]\nlayers= -1, 8\ngroups=2\ngroup_id=1", Route((-1, 8), 2, 1)),
        ("[maxpool]\nstride=2", MaxPool(2, 2, 1)),
        ("[maxpool]\nsize=3\npadding=0", MaxPool(3, 1, 0)),
        ("[upsample]", Upsample(2)),
        ("[avgpool]", AvgPool()),
        ("[dropout]\nprobability=.5", Dropout()),
        ("[yolo]\nanchors=1,2\nclasses=3\nscale_x_y=1.05\nnew_coords=0", Yolo(((1, 2),), 3, 1.05)),
        ("[yolo]\nanchors=1,2,3,4.5\nnum=2\nmask=1\nclasses=3", Yolo(((3, 4.5),), 3, 1)),
    ],
)
def test_sections_have_darknets_defaults(text: str, expected: object) -> None:
    assert parse_cfg(NET + text, "x.cfg").layers == (expected,)


def test_comments_blank_lines_and_windows_line_ends_are_skipped() -> None:
    text = "\ufeff# a\r\n[net]\r\n; b\r\n\r\n width = 32\r\nheight=64\r\n[avgpool]\r\n"

    cfg = parse_cfg(text.removeprefix("\ufeff"), "x.cfg")

    assert (cfg.net.width, cfg.net.height, cfg.layers[0].line) == (32, 64, 7)


def test_a_byte_order_mark_and_foreign_comments_are_ignored(tmp_path: Path) -> None:
    file = tmp_path / "x.cfg"
    file.write_bytes(b"\xef\xbb\xbf" + NET.encode() + "# 训练\n[avgpool]".encode("gbk"))

    assert read_cfg(file).layers == (AvgPool(),)


def test_a_repeated_key_with_the_same_value_is_allowed() -> None:
    assert parse_cfg(NET + "[upsample]\nstride=2\nstride=2", "x.cfg").layers == (Upsample(2),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"x.cfg: expected a .cfg that begins with \[net\]"),
        ("[convolutional]\nfilters=1", r"begins with \[net\]"),
        (NET, "expected 1 to 4096 layers, found 0"),
        (NET + "[avgpool]\n" * 5000, "expected 1 to 4096 layers, found 5000"),
        ("<!DOCTYPE html><html>", "found a web page"),
        ("width=3", "x.cfg:1: expected"),
        (NET + "[crnn]", r"x.cfg:4: \[crnn\] is a recurrent layer, which needs a video's frames in order"),
        (NET + "[crop]", r"x.cfg:4: \[crop\] is not a section lookonce knows; it knows convolutional, "),
        (NET + "[yolo]\nnum=2\nanchors=1,2   3,4\nclasses=1", "found 3 numbers; is a comma missing"),
        (NET + "[avgpool]\nhello", "x.cfg:5: .*found 'hello'"),
        (NET + "[avgpool]\n=5", "x.cfg:5: "),
        (NET + "[convolutional]\nfilters=", "x.cfg:5: .*filters: expected a whole number, found ''"),
        (NET + "[avgpool]\n[unclosed", "x.cfg:5: "),
        (NET + "[convolutional]\nsize=3", "x.cfg:4: .*expected the key 'filters'"),
        (NET + "[convolutional]\nfilters=0", "x.cfg:5: .*filters: expected 1 to 65536, found 0"),
        (NET + "[convolutional]\nfilters=999999", "filters: expected 1 to 65536, found 999999"),
        (NET + "[convolutional]\nfilters=" + "9" * 5000, "filters: expected a whole number"),
        (NET + "[convolutional]\nfilters=1_0", "filters: expected a whole number"),
        (NET + "[convolutional]\nfilters=\u0663", "filters: expected a whole number"),
        (NET + "[convolutional]\nfilters=1\nactivation=stair", "x.cfg:6: .*one of linear, .*found 'stair'"),
        (NET + "[convolutional]\nfilters=1\nbinary=1", "x.cfg:6: .*binary=1 is not supported"),
        (NET + "[convolutional]\nfilters=1\nstride_x=2", "x.cfg:4: .*one stride for both sides"),
        (NET + "[convolutional]\nfilters=1\nfilters=2", "x.cfg:6: .*contradicts filters=1 in line 5"),
        (NET + "[shortcut]", "expected the key 'from'"),
        (NET + "[shortcut]\nfrom=-1,,2", "from: expected a whole number, found ''"),
        (NET + "[shortcut]\nfrom=-2\nweights_type=per_feature", "weights_type=per_feature is not supported"),
        (NET + "[route]\nlayers=-1\ngroups=2\ngroup_id=2", "group_id: expected 0 to 1, found 2"),
        (NET + "[maxpool]\nsize=2\npadding=3", "padding: expected 0 to 2, found 3"),
        (NET + "[yolo]\nclasses=1", "expected the key 'anchors'"),
        (NET + "[yolo]\nanchors=1,\nclasses=1", "expected num=1 pairs .*found 1 numbers"),
        (NET + "[yolo]\nanchors=1,-2\nclasses=1", "expected anchors above 0 and at most 65536, found -2"),
        (NET + "[yolo]\nanchors=1,nan\nclasses=1", "anchors: expected a number, found 'nan'"),
        (NET + "[yolo]\nanchors=1,1e999\nclasses=1", "anchors: expected a number, found '1e999'"),
        (NET + "[yolo]\nanchors=1,2\nmask=1", "expected a mask of 0 to 0, found 1 to 1"),
        ("[net]\nwidth=416\n[avgpool]", "expected the key 'height'"),
        ("[net]\nwidth=416\nheight=100000\n[avgpool]", "x.cfg:3: .*height: expected 1 to 8192, found 100000"),
        (NET + "channels=4\n[avgpool]", "expected channels=3 .* or channels=1"),
    ],
)  # fmt: skip
def test_errors_name_the_line(text: str, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        parse_cfg(text, "x.cfg")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x7fELF\0\0", "found binary data"),
        (b"#" * 1_048_577, "at most 1,048,576 bytes"),
    ],
)
def test_files_that_are_not_cfg_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "x.cfg"
    file.write_bytes(content)

    with pytest.raises(ModelFileError, match=message):
        read_cfg(file)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "no.cfg", tmp_path):
        with pytest.raises(ModelFileError, match=r"cannot be read|expected a regular file|folder"):
            read_cfg(path)


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("[upsample]\nstride=2.0", "[upsample]\nstride=2"),
        ("[upsample]\nstride=3.7", "[upsample]\nstride=3"),  # Darknet drops the fraction
        ("[shortcut]\nfrom=-1,-2,", "[shortcut]\nfrom=-1,-2"),
        ("[yolo]\nanchors = 1,2,  3,4,\nnum=2\nmask = 1,\nclasses=1",
         "[yolo]\nanchors=1,2,3,4\nnum=2\nmask=1\nclasses=1"),
        ("[yolo]\nanchors=1,2,3,4\nclasses=1", "[yolo]\nanchors=1,2\nclasses=1"),  # num=1
        ("[yolo]\nanchors=1,2,3,4\nmask=1\nclasses=1", "[yolo]\nanchors=1,2,3,4\nnum=2\nmask=1\nclasses=1"),
        ("[conv]\nfilters=2\nstride_x=2\nstride_y=2", "[convolutional]\nfilters=2\nstride=2"),
        ("[avgpool]\n\x1a", "[avgpool]"),
        ("[avgpool]\nlearning_rate=", "[avgpool]"),
    ],
)  # fmt: skip
def test_harmless_spellings_read_the_same(written: str, plain: str) -> None:
    assert parse_cfg(NET + written, "x.cfg").layers == parse_cfg(NET + plain, "x.cfg").layers


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le"])
def test_utf_16_is_read(tmp_path: Path, encoding: str) -> None:
    mark = "" if encoding == "utf-16" else "\ufeff"
    (tmp_path / "x.cfg").write_bytes((mark + NET + "[avgpool]").encode(encoding))
    assert read_cfg(tmp_path / "x.cfg").layers == (AvgPool(),)


def test_unknown_keys_are_listed_apart_from_harmless_ones() -> None:
    cfg = parse_cfg(NET + "mosiac=1\nmosaic=1\n" + "[avgpool]\nqqq=1\n" * 2, "x.cfg")

    assert cfg.unknown == {"net": ["mosiac (did you mean mosaic?)"], "avgpool": ["qqq"]}
    assert cfg.ignored == {"net": ["mosaic"]}


def test_letter_box_and_signs_of_stretching_are_read() -> None:
    def net(text: str) -> tuple[bool | None, str]:
        found = parse_cfg(NET + text, "x.cfg").net
        return found.letter_box, found.stretching

    assert net("[avgpool]") == (None, "")
    assert net("letter_box=1\n[avgpool]") == (True, "")
    assert net("letter_box=0\nmosaic=1\n[avgpool]") == (False, "mosaic")
    assert net("[sam]\nfrom=-1") == (None, "[sam]")
    assert net("[yolo]\nanchors=1,2\nscale_x_y=1.1") == (None, "scale_x_y")
