"""Heads changed to other classes, anchors and sizes; all other layers stay unchanged."""

from dataclasses import replace
from pathlib import Path

import pytest

from lookonce.darknet.cfg import parse_cfg
from lookonce.darknet.described import describe, network_of, published_scales, published_size
from lookonce.darknet.heads import with_anchors, with_heads
from lookonce.darknet.resolve import resolve
from lookonce.darknet.sections import Convolutional, Yolo
from lookonce.errors import ModelFileError
from tests.darknet.kinds import KINDS, conv, head, kind, net, to_16


@pytest.mark.parametrize("name", KINDS)
def test_only_the_heads_change(name: str) -> None:
    before = kind(name)

    after = with_heads(before.cfg, 7, (64, 160))

    assert (after.classes, after.cfg.net.height, after.cfg.net.width) == (7, 64, 160)
    assert after.cfg.net.letter_box is True
    assert after.cfg.file == before.cfg.file
    heads = {scale.source for scale in before.scales}
    for old, new in zip(before.layers, after.layers, strict=True):
        if old.index in heads:
            assert isinstance(old.section, Convolutional)
            assert replace(old.section, filters=after.shape(new.index).channels) == new.section
        elif isinstance(old.section, Yolo):
            assert replace(old.section, classes=7) == new.section
        else:
            assert old.section == new.section
        assert (old.sources, old.section.line) == (new.sources, new.section.line)
    for scale in after.scales:
        assert after.shape(scale.source).channels == len(scale.anchors) * scale.columns


@pytest.mark.parametrize("name", ["tiny", "three scales", "region", "csp"])
def test_anchors_can_be_replaced_by_any_number_of_others(name: str) -> None:
    network = kind(name)
    wanted = tuple(
        tuple((5.5 * (n + 1) + scale, 7.0 + n) for n in range(1 + scale))
        for scale in range(len(network.scales))
    )

    after = with_anchors(network, wanted)

    assert tuple(scale.anchors for scale in after.scales) == wanted
    assert [after.shape(scale.source).channels for scale in after.scales] == [
        (1 + number) * scale.columns for number, scale in enumerate(after.scales)
    ]


def test_heads_with_different_classes_get_the_same() -> None:
    text = KINDS["tiny"].replace("filters=14", "filters=18", 1).replace("classes=2", "classes=4", 1)
    cfg = parse_cfg(text, "x.cfg")
    with pytest.raises(ModelFileError, match=r"has 2 classes, the first .* 4"):
        resolve(cfg)
    assert with_heads(cfg, 3, (64, 64)).classes == 3


def test_training_settings_are_kept_and_per_class_ones_dropped() -> None:
    text = KINDS["prn"].replace("classes=2\n", "classes=2\ncounters_per_class=4,5\njitter=.3\n")
    found = with_heads(parse_cfg(text, "x.cfg"), 3, (64, 64)).cfg.text
    assert "learning_rate=0.001\n" in found
    assert "jitter=.3\n" in found
    assert "counters_per_class" not in found
    assert "#" not in found


@pytest.mark.parametrize(
    ("before", "complaint"),
    [
        (
            "[shortcut]\nfrom=-2\nactivation=linear\n",
            r"x\.cfg:\d+: \[yolo\] follows a \[shortcut\]; expected a",
        ),
        ("[dropout]\n", ""),
    ],
)
def test_a_yolo_needs_a_convolution_before_it(before: str, complaint: str) -> None:
    cfg = parse_cfg(KINDS["prn"].replace("[yolo]", before + "[yolo]"), "x.cfg")
    if complaint:
        with pytest.raises(ModelFileError, match=complaint):
            with_heads(cfg, 3, (64, 64))
    else:
        assert with_heads(cfg, 3, (64, 64)).classes == 3


@pytest.mark.parametrize("name", KINDS)
def test_a_network_survives_its_description(name: str) -> None:
    network = kind(name)
    info = describe(network, ("cat", "dog"))
    back = network_of(replace(info, input_size=(160, 96), fit="stretch"))
    assert [layer.section for layer in back.layers] == [layer.section for layer in network.layers]
    assert (back.cfg.net.height, back.cfg.net.width, back.cfg.net.letter_box) == (160, 96, False)


def test_size_and_scales_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "x.cfg"
    file.write_text(KINDS["tiny"].replace("width=64", "width=160"))
    assert published_size(str(file)) == (96, 160)
    assert published_size("yolov3") is None
    assert published_scales(str(file))[1] == (16, 32)
    assert published_scales("yolov3-tiny")[1] == (16, 32)


def test_strides_do_not_depend_on_the_size_in_the_file(tmp_path: Path) -> None:
    """At 500x500, the cells of stride 32 are 31.25 pixels wide; at 608x608, those of stride 64 are 60.8."""
    file = tmp_path / "X.CFG"
    coarse = net() + to_16() + 2 * conv(8, 3, stride=2) + head(32)
    for text, side, strides, rounded in (
        (KINDS["tiny"], 500, (16, 32), 512),
        (coarse, 608, (64,), 640),
        (coarse, 96, (64,), 128),
    ):
        file.write_text(text.replace("width=64", f"width={side}").replace("height=96", f"height={side}"))
        assert published_scales(str(file))[1] == strides
        assert published_size(str(file)) == (rounded, rounded)
