"""Weights of another model: taken where they fit and mean the same."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lookonce.errors import ModelFileError
from lookonce.metadata import ModelInfo
from lookonce.model.files import save_model
from lookonce.model.network import build
from lookonce.train.transfer import freeze_backbone, transfer
from tests.data.drawn_samples import INFO

NARROW = replace(INFO, width=0.125)


def model(folder: Path, info: ModelInfo) -> tuple[Path, dict[str, torch.Tensor]]:
    weights = build(info).state_dict()
    save_model(folder / "start.safetensors", weights, info)
    return folder / "start.safetensors", weights


def test_the_same_classes_take_every_tensor(tmp_path: Path) -> None:
    start, weights = model(tmp_path, NARROW)
    network = build(NARROW)
    result = transfer(network, NARROW, start)
    assert (result.taken, result.left) == (len(weights), ())
    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("names", [("a", "b", "c"), ("disc", "bar"), ("bar", "disc", "rod")])
def test_heads_of_other_classes_start_fresh(tmp_path: Path, names: tuple[str, ...]) -> None:
    start, weights = model(tmp_path, NARROW)
    info = replace(NARROW, names=names)
    network = build(info)
    result = transfer(network, info, start)
    assert set(result.left) == {name for name in weights if "head" in name}
    assert result.taken == len(weights) - 4


@pytest.mark.parametrize("names", [("bar", "disc", "ring"), ("ring", "rod", "disc", "bar", "cog")])
def test_rows_of_heads_are_copied_by_class_name(tmp_path: Path, names: tuple[str, ...]) -> None:
    start, weights = model(tmp_path, NARROW)
    info = replace(NARROW, names=names)
    network = build(info)
    fresh = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    result = transfer(network, info, start)
    assert (result.taken, result.left) == (len(weights), ())
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
    assert all("head" in name for name in transfer(build(info), info, start).left)


def test_another_width_is_refused(tmp_path: Path) -> None:
    start, _ = model(tmp_path, NARROW)
    wider = replace(NARROW, width=0.25)
    with pytest.raises(ModelFileError, match=r"width 0\.25, found 0\.125: .*width=0\.125"):
        transfer(build(wider), wider, start)


def test_a_frozen_backbone_gets_no_gradient() -> None:
    network = build(NARROW)
    freeze_backbone(network)
    frozen = [name for name, each in network.named_parameters() if not each.requires_grad]
    assert frozen == [name for name, _ in network.named_parameters() if name.startswith("backbone.")]
