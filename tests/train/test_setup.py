"""Test the model, its initial weights and its learning rate, made from data and settings."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lookonce.metadata import OBJECTIVE
from lookonce.model.blocks import Head
from lookonce.model.network import build
from lookonce.networks import NETWORKS
from lookonce.recipe import load_settings
from lookonce.samples import Sample
from lookonce.train.setup import TrainData, describe, make_network, make_schedule
from tests.data.drawn_samples import INFO

BOX = Sample(Path("a.png"), np.array([[1, 1, 9, 9]], np.float32), np.array([0]))
DATA = TrainData(INFO.names, [BOX, BOX], [BOX])
NARROW = "width=0.125"


def test_the_description_has_layout_and_objective() -> None:
    info = describe(DATA, load_settings(None, ("model=yolov3", "size=64x96", "batch_norm.epsilon=0.01")))
    assert (info.strides, info.anchors) == (NETWORKS["yolov3"].strides, NETWORKS["yolov3"].anchors)
    assert (info.input_size, info.bn_epsilon, info.names) == ((64, 96), 0.01, INFO.names)
    assert info.training[OBJECTIVE]["loss"]["objectness"] == "iou"
    counts = info.training["data"]
    assert (counts["images"], counts["boxes"], counts["validation"]) == (2, 2, 1)


def test_given_anchors_are_used_unchanged() -> None:
    anchors = [[[5, 6], [7, 8]], [[20, 30], [40, 50]]]
    info = describe(DATA, load_settings(None, (f"anchors={anchors}", NARROW)))
    assert info.anchors == (((5, 6), (7, 8)), ((20, 30), (40, 50)))
    maps = build(info)(torch.zeros(1, 3, 64, 64))
    assert [raw.shape[1] for raw in maps] == [2 * (5 + 3)] * 2


def heads(network: torch.nn.Module) -> list[Head]:
    return [module for module in network.modules() if isinstance(module, Head)]


@pytest.mark.parametrize("prior", [0.01, 0.3, 0.9])
def test_only_objectness_is_biased_to_the_prior(prior: float) -> None:
    settings = load_settings(None, (f"objectness_prior={prior}", NARROW))
    found = heads(make_network(describe(DATA, settings), settings))
    assert len(found) == 2
    for head in found:
        assert head.bias is not None
        bias = head.bias.detach().view(3, 5 + 3)  # anchors, x y w h objectness and three classes
        assert torch.sigmoid(bias[:, 4]).tolist() == pytest.approx([prior] * 3, rel=1e-6)
        assert (bias[:, [0, 1, 2, 3, 5, 6, 7]] == 0).all()


def test_with_a_prior_of_one_half_initial_weights_are_unchanged() -> None:
    settings = load_settings(None, ("objectness_prior=0.5", NARROW))
    info = describe(DATA, settings)
    torch.manual_seed(0)
    built = build(info).state_dict()
    torch.manual_seed(0)
    for name, tensor in make_network(info, settings).state_dict().items():
        assert torch.equal(tensor, built[name]), name
        assert not torch.signbit(tensor[tensor == 0]).any(), f"{name}: a negative zero"


def test_warm_up_epochs_are_counted_in_steps() -> None:
    schedule = make_schedule(load_settings(None, ("epochs=4", "optimizer.warmup_epochs=1.5")), 10)
    assert (schedule.warmup, schedule.steps) == (15, 40)
    assert schedule(15) == 0.001
    assert schedule(40) == pytest.approx(1e-6)
