"""Any content of a file either gives a `LookonceError`, or is accepted and works."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookonce.darknet.cfg import parse_cfg
from lookonce.darknet.classic import recognize
from lookonce.darknet.names import find_names
from lookonce.darknet.network import ConvSpec, Network
from lookonce.darknet.resolve import resolve
from lookonce.darknet.weights import check_weights, read_weights, write_weights
from lookonce.errors import LookonceError
from tests.darknet.oracle import lookonce_outputs, random_weights

KEYS = """
    width height channels filters size stride pad padding groups group_id batch_normalize activation from
    layers mask anchors classes num scale_x_y new_coords dilation jitter momentum
"""
KINDS = "net convolutional shortcut route maxpool upsample avgpool dropout yolo region"
VALUES = """
    0 1 2 3 5 7 8 12 32 64 -1 -2 -3 -1,-2 0,1 1,2,3,4 1.5 .5 nan 1e9 99999999 leaky mish linear tanh , =
"""

number = st.integers(-4, 40).map(str)
value = st.one_of(st.sampled_from(VALUES.split()), number, st.text(max_size=4))
option = st.tuples(st.sampled_from(KEYS.split()), value).map("=".join)
section = st.tuples(st.sampled_from(KINDS.split()).map("[{}]".format), st.lists(option, max_size=5)).map(
    lambda parts: "\n".join((parts[0], *parts[1]))
)

# sections that mostly fit together, so that the code after the parser is tested too
small = st.integers(1, 4).map(str)
likely_layer = st.one_of(
    st.builds("[convolutional]\nfilters={}\nsize={}\nstride={}\npad={}\nbatch_normalize={}".format,
              st.sampled_from(["6", "12", "8"]), small, small, st.sampled_from("01"), st.sampled_from("01")),
    st.builds("[maxpool]\nsize={}\nstride={}".format, small, small),
    st.builds("[route]\nlayers={}".format, st.sampled_from(["-1", "-2", "0", "-1,-2", "-1,0"])),
    st.builds("[shortcut]\nfrom={}\nactivation={}".format, st.sampled_from(["-2", "0", "-2,-3"]),
              st.sampled_from(["mish", "leaky"])),
    st.sampled_from(["[upsample]", "[avgpool]", "[dropout]", "[yolo]\nanchors=9,9\nclasses=1"]),
)  # fmt: skip


def accepted(text: str) -> Network | None:
    try:
        return resolve(parse_cfg(text, "fuzz.cfg"))
    except LookonceError as refusal:
        error = refusal
    assert str(error).startswith("fuzz.cfg:")
    return None


@given(st.one_of(st.text(), st.lists(section, max_size=6).map("\n".join)))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    accepted("[net]\nwidth=32\nheight=32\n" + text)
    accepted(text)


@given(st.lists(likely_layer, max_size=8).map("\n".join))
@settings(max_examples=200, deadline=None)
def test_accepted_networks_run_and_have_the_computed_shapes(text: str) -> None:
    first = "[net]\nwidth=32\nheight=32\n[convolutional]\nfilters=8\n"
    head = "\n[convolutional]\nfilters=6\nactivation=linear\n[yolo]\nanchors=9,9\nclasses=1"
    network = accepted(first + text + head)
    if network is None or network.numbers > 100_000:
        return
    assert recognize(network) is None
    candidates, raw_maps = lookonce_outputs(
        network, random_weights(network), np.zeros((2, 32, 32, 3), np.uint8)
    )
    for scale, raw in zip(network.scales, raw_maps, strict=True):
        assert raw.shape == (2, *network.shape(scale.source))
    assert candidates.shape[1] == sum(raw.shape[2] * raw.shape[3] for raw in raw_maps)


@given(draw=st.data())
@settings(max_examples=100, deadline=None)
def test_damaged_real_files_are_read_or_refused(data: Path, draw: st.DataObject) -> None:
    text = (data / "darknet" / "yolov3-tiny.cfg").read_text()
    lines = text.split("\n")
    for _ in range(draw.draw(st.integers(1, 4))):
        place = draw.draw(st.integers(0, len(lines) - 1))
        lines[place : place + draw.draw(st.integers(0, 3))] = draw.draw(
            st.lists(st.one_of(option, section, st.sampled_from(lines)), max_size=2)
        )
    accepted("\n".join(lines))


SPECS = [ConvSpec(0, 3, 3, 2, 1, 1, True), ConvSpec(1, 9, 2, 3, 1, 1, False)]  # 14 and 9 numbers
header = st.sampled_from([b"\0" * 4 + b"\2\0\0\0" + b"\0" * 12, b"\0" * 4 + b"\1\0\0\0" + b"\0" * 8])


@given(
    content=st.one_of(st.binary(max_size=140), st.builds(bytes.__add__, header, st.binary(max_size=120))),
    partial=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_any_weights_are_read_or_refused(folder: Path, content: bytes, partial: bool) -> None:
    file = folder / "x.weights"
    file.write_bytes(content)
    try:
        head, found = read_weights(file, SPECS, partial=partial)
        check_weights(file, SPECS, found)
    except LookonceError:
        return
    numbers = np.concatenate([array.ravel() for each in found for array in each.in_file_order()])
    assert numbers.tobytes() == content[head.size :]
    write_weights(folder / "y.weights", found, head.seen)
    assert (folder / "y.weights").read_bytes()[20:] == content[head.size :]


@given(names=st.binary(max_size=30), data_file=st.binary(max_size=400), classes=st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_any_names_are_read_or_refused(folder: Path, names: bytes, data_file: bytes, classes: int) -> None:
    (folder / "model.data").write_bytes(b"names=" + data_file)
    (folder / "obj.data").write_bytes(b"names = " + data_file)
    (folder / "some.names").write_bytes(names)
    try:
        found, _ = find_names(folder / "model.cfg", classes)
    except LookonceError:
        return
    assert len(found) == classes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")
