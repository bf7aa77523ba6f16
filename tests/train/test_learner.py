"""Compare one step with values computed by hand: clipping, the running average, unchanged weights."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lookonce.config import TrainSettings
from lookonce.data.dataset import Dataset
from lookonce.data.loader import Loader
from lookonce.images import read_image, write_image
from lookonce.model.blocks import follow_statistics
from lookonce.model.network import build
from lookonce.train.learner import Learner, describe_device, forward, precision_on
from lookonce.train.parallel import ALONE
from tests.data.drawn_samples import INFO, draw_samples

NARROW = replace(INFO, width=0.125)


def line(**wanted: object) -> tuple[Learner, Tensor]:
    """Make a network of two weights (1, 2), whose loss w . (3, 4) has the gradient (3, 4), of norm 5."""
    network = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[1.0, 2.0]]))
    optimizer = {"name": "sgd", "momentum": 0, **wanted}
    settings = TrainSettings.model_validate({"ema": 0, "optimizer": optimizer})
    return Learner(network, INFO, settings), network.weight


@pytest.mark.parametrize(
    ("clip", "gradient"), [(0, (3.0, 4.0)), (1, (0.6, 0.8)), (2.5, (1.5, 2.0)), (6, (3.0, 4.0))]
)
def test_a_step_subtracts_the_clipped_gradient(clip: float, gradient: tuple[float, float]) -> None:
    learner, weight = line(clip=clip)
    learner.backward(learner.network(torch.tensor([3.0, 4.0])).sum())
    learner.step(0.1)
    assert weight.tolist()[0] == pytest.approx([1 - 0.1 * gradient[0], 2 - 0.1 * gradient[1]])


def test_gradients_add_up_until_the_step() -> None:
    learner, weight = line()
    for share in (0.25, 0.75):
        learner.backward(share * learner.network(torch.tensor([3.0, 4.0])).sum())
    learner.step(0.1)
    assert weight.tolist()[0] == pytest.approx([0.7, 1.6])
    learner.backward(learner.network(torch.tensor([1.0, 0.0])).sum())
    learner.step(0.1)
    assert weight.tolist()[0] == pytest.approx([0.6, 1.6])


def test_a_step_without_gradients_changes_nothing() -> None:
    learner, weight = line(momentum=0.9)
    learner.backward(torch.zeros(()))  # the loss of an empty batch
    learner.step(0.1)
    assert weight.tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_the_averaged_weights_are_evaluated_if_there_are_any(ema: float) -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    optimizer = {"name": "sgd", "momentum": 0}
    learner = Learner(network, INFO, TrainSettings.model_validate({"ema": ema, "optimizer": optimizer}))
    learner.backward(network(torch.ones(1)).sum())
    learner.step(1.0)
    (evaluated,) = learner.evaluated.parameters()
    average = 2 / 11 * 0 + 9 / 11 * -1  # its decay is 2 / 11 at the first step
    assert float(evaluated.detach()) == pytest.approx(average if ema else -1)


def norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


@pytest.mark.parametrize(
    ("average_first", "number", "expected"),
    [(True, 1, 1.0), (True, 4, 0.25), (True, 90, 0.02), (False, 1, 0.02)],
)
def test_running_statistics_are_averaged_first_if_so_set(
    average_first: bool, number: int, expected: float
) -> None:
    network = build(NARROW)
    settings = TrainSettings.model_validate(
        {"batch_norm": {"momentum": 0.02, "average_first": average_first}}
    )
    follow_statistics(network, number, settings.batch_norm)
    assert {block.momentum for block in norms(network)} == {expected}


def test_skipped_batches_have_no_weight_in_the_first_average(tmp_path: Path) -> None:
    """The batches 1 and 3 are white, on which the first layer overflows in float16, and are skipped."""
    samples = draw_samples(tmp_path, 5)
    for number, sample in enumerate(samples):
        pixels = read_image(sample.path)
        write_image(sample.path, np.full_like(pixels, 255) if number in (0, 2) else pixels // 8)
    wanted = {"precision": "float16", "augment": False, "loss": {"non_finite": "skip"}}
    settings = TrainSettings.model_validate(wanted)

    def statistics(order: Sequence[int]) -> tuple[int, list[Tensor]]:
        """Train a network on images in this order, skipping those on which it overflows."""
        torch.manual_seed(0)
        network = build(NARROW)
        next(network.parameters()).data.fill_(70_000 / 27)  # white: 27 pixels of 1.0, above the largest
        learner = Learner(network, NARROW, settings)
        learner.start_epoch()
        for number in order:
            dataset = Dataset([samples[number]], NARROW, None)
            with Loader(dataset, 1, 0) as loader:
                ((batch,),) = loader.steps(0)
            if not learner.losses(batch).total(1).isfinite():
                learner.undo()
        return learner.batches, [norm.running_var for norm in norms(network) if norm.running_var is not None]

    count, found = statistics([0, 1, 2, 3, 4])
    alone, expected = statistics([1, 3, 4])
    assert (count, alone) == (3, 3)
    assert all(map(torch.equal, found, expected))


def test_a_frozen_backbone_stays_in_evaluation_mode_and_is_not_trained() -> None:
    network = build(NARROW)
    learner = Learner(network, NARROW, TrainSettings(freeze="backbone"))
    learner.start_epoch()
    backbone = network.get_submodule("backbone")
    assert not any(block.training for block in norms(backbone))
    assert all(block.training for block in norms(network) if block not in norms(backbone))
    trained = {id(p) for group in learner.optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for p in network.parameters()} - {id(p) for p in backbone.parameters()}


class NoDoubles(TorchDispatchMode):
    """Mode that fails on float64 tensors, which Apple's GPUs do not support."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, Tensor):
                assert each.dtype != torch.float64 or each.ndim == 0, f"{function} returns float64"
        return result


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_a_training_step_needs_no_float64(optimizer: str, tmp_path: Path) -> None:
    assert precision_on(torch.device("mps"), TrainSettings()) == torch.float32
    settings = TrainSettings.model_validate({"optimizer": {"name": optimizer}, "precision": "float32"})
    samples = draw_samples(tmp_path, 4)
    loader = Loader(Dataset(samples, NARROW, None), 4, workers=0)
    learner = Learner(build(NARROW), NARROW, settings)
    learner.start_epoch()
    (batch,) = next(iter(loader.steps(0)))
    with NoDoubles():
        learner.backward(forward(learner.network, batch, NARROW, settings).total())
        learner.step(0.001)


@pytest.mark.parametrize(("threads", "said"), [(1, "1 thread, and 3"), (2, "2 threads, and 3")])
def test_the_device_is_described_with_its_precision_and_threads(threads: int, said: str) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = describe_device(ALONE, TrainSettings(precision="float32", workers=3))
    finally:
        torch.set_num_threads(before)
    assert found == f"CPU in float32, {said} for images"
