"""Test that weights of another model are copied if they fit and have the same meaning."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lookonce.darknet.cfg import parse_cfg
from lookonce.darknet.classic import classic_cfg
from lookonce.darknet.described import describe
from lookonce.darknet.heads import with_heads
from lookonce.darknet.resolve import resolve
from lookonce.darknet.weights import write_weights
from lookonce.darknet.write import write_darknet
from lookonce.errors import ConfigError, ModelFileError
from lookonce.metadata import ModelInfo
from lookonce.model.darknet_io import arrays_of, convolution_names, load_darknet, save_darknet
from lookonce.model.files import save_model
from lookonce.model.network import build
from lookonce.train.transfer import check_frozen, freeze_parts, transfer
from tests.darknet.kinds import KINDS, kind
from tests.darknet.oracle import random_weights
from tests.data.drawn_samples import INFO

NARROW = replace(INFO, width=0.125)


def model(folder: Path, info: ModelInfo) -> tuple[Path, dict[str, torch.Tensor]]:
    weights = build(info).state_dict()
    save_model(folder / "start.safetensors", weights, info)
    return folder / "start.safetensors", weights


def test_with_the_same_classes_every_tensor_is_copied(tmp_path: Path) -> None:
    start, weights = model(tmp_path, NARROW)
    network = build(NARROW)
    result = transfer(network, NARROW, start)
    assert (len(result.copied), result.fresh) == (13, ())
    assert str(result) == "copied 13 of 13 convolutions"
    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("names", [("a", "b", "c"), ("disc", "bar"), ("bar", "disc", "rod")])
def test_heads_of_other_classes_start_fresh(tmp_path: Path, names: tuple[str, ...]) -> None:
    start, weights = model(tmp_path, NARROW)
    info = replace(NARROW, names=names)
    network = build(info)
    result = transfer(network, info, start)
    assert result.fresh == ("coarse_head", "fine_head")
    assert str(result) == "copied 11 of 13 convolutions; fresh: coarse_head, fine_head"
    for name, tensor in network.state_dict().items():
        if name.endswith("weight") and "bn" not in name:
            assert torch.equal(tensor, weights[name]) == ("head" not in name), name


@pytest.mark.parametrize("names", [("bar", "disc", "ring"), ("ring", "rod", "disc", "bar", "cog")])
def test_rows_of_heads_are_copied_by_class_name(tmp_path: Path, names: tuple[str, ...]) -> None:
    start, weights = model(tmp_path, NARROW)
    info = replace(NARROW, names=names)
    network = build(info)
    fresh = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    result = transfer(network, info, start)
    assert (len(result.copied), result.fresh) == (13, ())
    heads = 0
    for name, tensor in network.state_dict().items():
        if "head" not in name:
            assert torch.equal(tensor, weights[name])
            continue
        heads += 1
        for anchor in range(3):
            row, old = anchor * (5 + len(names)), anchor * 8
            assert torch.equal(tensor[row : row + 5], weights[name][old : old + 5])
            for label, each in enumerate(names):
                before = fresh[name][row + 5 + label]
                taken = weights[name][old + 5 + NARROW.names.index(each)] if each in NARROW.names else before
                assert torch.equal(tensor[row + 5 + label], taken)
    assert heads == 4


def test_rows_of_other_anchors_are_not_copied(tmp_path: Path) -> None:
    start, _ = model(tmp_path, replace(NARROW, anchors=(NARROW.anchors[1], NARROW.anchors[1])))
    info = replace(NARROW, names=("disc", "bar", "ring", "rod"))
    assert transfer(build(info), info, start).fresh == ("coarse_head", "fine_head")


def test_another_width_is_refused(tmp_path: Path) -> None:
    start, _ = model(tmp_path, NARROW)
    wider = replace(NARROW, width=0.25)
    with pytest.raises(ModelFileError, match=r"width 0\.25, found 0\.125: .*width=0\.125"):
        transfer(build(wider), wider, start)


def test_a_frozen_backbone_gets_no_gradient() -> None:
    network = build(NARROW)
    freeze_parts(network, NARROW, "backbone")
    frozen = [name for name, each in network.named_parameters() if not each.requires_grad]
    assert frozen == [name for name, _ in network.named_parameters() if name.startswith("backbone.")]


def start_of(folder: Path, name: str, classes: tuple[str, ...] = ("a", "b")) -> tuple[Path, ModelInfo]:
    """Write the Darknet files of a network with random weights."""
    network = kind(name)
    info = describe(network, classes)
    write_darknet(folder / f"{name}.cfg", info, random_weights(network))
    return folder / f"{name}.cfg", info


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("given", [".cfg", ".weights"])
def test_a_graph_copies_everything_but_its_heads(tmp_path: Path, name: str, given: str) -> None:
    start, _ = start_of(tmp_path, name)
    target = with_heads(kind(name).cfg, 5, (64, 64))
    info = describe(target, tuple("vwxyz"))
    network = build(info)
    result = transfer(network, info, start.with_suffix(given))
    assert result.fresh == tuple(
        f"layers.{spec.layer}"
        for spec in target.convolutions
        if spec.layer in {s.source for s in target.scales}
    )
    loaded = load_darknet(start)[0].state_dict()
    for tensor_name, tensor in network.state_dict().items():
        if tensor_name.startswith(tuple(f"{taken}." for taken in result.copied)):
            assert torch.equal(tensor, loaded[tensor_name])


def test_a_graph_copies_heads_of_the_same_classes(tmp_path: Path) -> None:
    start, info = start_of(tmp_path, "tiny")
    assert transfer(build(info), info, start).fresh == ()
    renamed = replace(info, names=("b", "c"))
    assert transfer(build(renamed), renamed, start).fresh == ("layers.5", "layers.11")


@pytest.mark.parametrize("name", ["tiny", "three scales", "gaussian", "region"])
def test_rows_of_a_graphs_heads_are_copied_by_class_name(tmp_path: Path, name: str) -> None:
    start, _ = start_of(tmp_path, name)
    target = with_heads(kind(name).cfg, 3, (96, 64))
    info = describe(target, ("c", "b", "a"))
    network = build(info)
    assert transfer(network, info, start).fresh == ()
    old = load_darknet(start)[0].state_dict()
    scale = target.scales[0]
    mine, theirs = (each[f"layers.{scale.source}.conv.bias"] for each in (network.state_dict(), old))
    mine, theirs = (each.view(len(scale.anchors), -1) for each in (mine, theirs))
    beside = scale.decoding.columns
    assert torch.equal(mine[:, :beside], theirs[:, :beside])
    assert torch.equal(mine[:, [beside + 2, beside + 1]], theirs[:, beside:])


def test_a_weights_file_alone_belongs_to_the_published_network(tmp_path: Path) -> None:
    base = kind("v4-tiny")
    info = describe(with_heads(base.cfg, 5, (64, 64)), tuple("vwxyz"))
    weights = random_weights(base)
    write_weights(tmp_path / "all", weights)
    write_weights(tmp_path / "x.conv.6", weights[:5])
    result = transfer(build(info), info, tmp_path / "all", base)
    assert (len(result.copied), result.fresh) == (9, ("layers.13", "layers.16"))
    assert transfer(build(info), info, tmp_path / "x.conv.6", base).copied == tuple(
        f"layers.{layer}" for layer in range(5)
    )
    write_weights(tmp_path / "more", [*weights, weights[0]])
    with pytest.raises(ModelFileError, match="numbers too long"):
        transfer(build(info), info, tmp_path / "more", base)


def test_layers_are_copied_up_to_the_first_difference(tmp_path: Path) -> None:
    start, _ = start_of(tmp_path, "tiny")
    changed = KINDS["tiny"].replace("activation=leaky", "activation=relu", 2).replace("relu", "leaky", 1)
    info = describe(resolve(parse_cfg(changed, "x.cfg")), ("x", "y"))
    assert transfer(build(info), info, start).copied == ("layers.0",)
    other = describe(kind("mobilenet"), ("a", "b"))
    with pytest.raises(ModelFileError, match=r"tiny\.cfg: expected layers that the network .* found none"):
        transfer(build(other), other, start)


@pytest.mark.parametrize("classes", [80, 1, 3])
def test_complete_weights_of_a_named_network_may_have_other_classes(tmp_path: Path, classes: int) -> None:
    source = build(replace(NARROW, names=tuple(map(str, range(classes)))))
    write_weights(tmp_path / "alone.weights", arrays_of(source))
    network = build(NARROW)
    result = transfer(network, NARROW, tmp_path / "alone.weights")
    assert (len(result.copied), result.fresh) == (11, ("coarse_head", "fine_head"))
    loaded = source.state_dict()
    for name, tensor in network.state_dict().items():
        if name.endswith("conv.weight"):
            assert torch.equal(tensor, loaded[name]), name


def test_named_networks_and_graphs_take_the_layers_of_each_other(tmp_path: Path) -> None:
    """The graph stretches its coarse head's offsets, so it is no yolov3-tiny, but has the same layers."""
    text = classic_cfg(NARROW).replace("random=1\n", "random=1\nscale_x_y=1.05\n", 1)
    graph = describe(resolve(parse_cfg(text, "x.cfg")), ("a", "b", "c"))
    assert (graph.architecture, NARROW.architecture) == ("darknet", "yolov3-tiny")
    for mine, theirs in ((graph, NARROW), (NARROW, graph)):
        source, network = build(theirs), build(mine)
        save_model(tmp_path / "start.safetensors", source.state_dict(), theirs)
        save_darknet(tmp_path / "start.cfg", source, theirs)
        before = arrays_of(network)
        for start in ("start.safetensors", "start.cfg", "start.weights"):
            result = transfer(network, mine, tmp_path / start)
            assert (len(result.copied), len(result.fresh)) == (11, 2)
            assert {*result.copied, *result.fresh} == set(convolution_names(network))
            for name, new, old, own in zip(
                convolution_names(network), arrays_of(network), arrays_of(source), before, strict=True
            ):
                wanted = own if name in result.fresh else old
                np.testing.assert_array_equal(new.kernel, wanted.kernel)
                np.testing.assert_array_equal(new.bias, wanted.bias)


@pytest.mark.parametrize(
    ("freeze", "frozen"),
    [
        ("nothing", set()),
        (3, {0, 1, 2}),
        ("backbone", {0, 1, 2, 3, 4}),
        ("layers.2", {2}),
    ],
)
def test_layers_of_a_graph_are_frozen_by_number_or_name(freeze: str | int, frozen: set[int]) -> None:
    info = describe(kind("tiny"), ("a", "b"))
    network = build(info).train()
    freeze_parts(network, info, freeze)
    still = {int(n.split(".")[1]) for n, each in network.named_parameters() if not each.requires_grad}
    assert still == frozen
    assert {
        int(n.split(".")[1]) for n, each in network.named_modules() if n.endswith("bn") and not each.training
    } == frozen


def test_layers_of_a_readable_network_are_frozen_by_number() -> None:
    network = build(NARROW)
    freeze_parts(network, NARROW, 4)  # convolution, pooling, convolution, pooling
    frozen = {name.split(".conv.")[0] for name, each in network.named_parameters() if not each.requires_grad}
    assert {name for name in frozen if ".bn." not in name} == {"backbone.convs.0", "backbone.convs.1"}


def test_the_backbone_of_a_network_with_one_head_does_not_include_the_head() -> None:
    info = describe(kind("mobilenet"), ("a", "b"))
    assert len(info.strides) == 1
    network = build(info).train()
    freeze_parts(network, info, "backbone")
    left = [name for name, each in network.named_parameters() if each.requires_grad]
    assert left
    assert all(name.startswith(convolution_names(network)[-1]) for name in left)


def test_freezing_everything_is_an_error() -> None:
    info = describe(kind("tiny"), ("a", "b"))
    network = build(info)
    with pytest.raises(ConfigError, match="freeze: expected layers left to train, found none besides layers"):
        check_frozen(network, info, "layers", ())
    check_frozen(network, info, "backbone", ())


@pytest.mark.parametrize("freeze", ["neck", 99])
def test_freezing_an_unknown_layer_is_an_error(freeze: str | int) -> None:
    with pytest.raises(ConfigError, match=r"freeze: expected nothing, backbone, .*backbone\.convs\.0"):
        freeze_parts(build(NARROW), NARROW, freeze)
