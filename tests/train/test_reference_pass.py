"""Compare one training step of the classic recipe with the original code: losses, gradients, weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lookonce.data.assign import Positives, assign, join
from lookonce.geometry.anchors import YOLOV3
from lookonce.model.blocks import Head, follow_statistics
from lookonce.model.network import build, to_input
from lookonce.recipe import load_settings
from lookonce.train.loss import Losses, scale_terms
from lookonce.train.optimizer import make_optimizer, set_rate
from lookonce.train.setup import TrainData, describe, make_schedule
from tests.model.reference_weights import convolutions, fill

STRIDES, SIDE = (8, 16, 32), 96
CLASSIC = load_settings("classic")


@pytest.fixture(scope="module")
def stored(reference: Path) -> dict[str, np.ndarray]:
    return dict(np.load(reference / "network.npz"))


@pytest.fixture(scope="module")
def network(stored: dict[str, np.ndarray]) -> nn.Module:
    info = describe(TrainData(("a", "b", "c"), (), ()), CLASSIC)
    assert info.anchors == YOLOV3
    network = build(info)
    fill(network)
    follow_statistics(network, 1, CLASSIC.batch_norm)
    return network.train()


@pytest.fixture(scope="module")
def losses(network: nn.Module, stored: dict[str, np.ndarray]) -> tuple[list[torch.Tensor], list[Losses]]:
    """Return raw maps and losses by scale, after the backward pass."""
    maps = network(to_input(torch.from_numpy(stored["images"]).permute(0, 3, 1, 2)))
    by_scale = []
    for s in range(3):
        positives, truth = _targets(stored["train_boxes"], s)
        by_scale.append(scale_terms(maps[s], positives, truth, YOLOV3[s], STRIDES[s], CLASSIC.loss).sums())
    torch.stack([scale.total() for scale in by_scale]).sum().backward()
    return maps, by_scale


def _targets(rows: np.ndarray, scale: int) -> tuple[Positives[torch.Tensor], torch.Tensor]:
    """Return the positives of one scale and, as in the reference, only the boxes assigned there as truth."""
    assigned = []
    truth = np.zeros((2, len(rows), 4), np.float32)
    for image in range(2):
        boxes = rows[rows[:, 0] == image]
        found = assign(boxes[:, 1:5].astype(np.float32), boxes[:, 5], YOLOV3, STRIDES, (SIDE, SIDE))
        assigned.append(found.on_scale(scale))
        kept = np.unique(assigned[-1].box, axis=0)
        truth[image, : len(kept)] = kept
    return join(assigned).each(torch.from_numpy), torch.from_numpy(truth)


def test_heads_in_training_mode_equal_the_reference(
    losses: tuple[list[torch.Tensor], list[Losses]], stored: dict[str, np.ndarray]
) -> None:
    for i, raw in enumerate(losses[0]):
        expected = stored[f"train_head{i}"]
        np.testing.assert_allclose(raw.detach().permute(0, 2, 3, 1), expected, atol=3e-4)


def test_losses_equal_the_reference(
    losses: tuple[list[torch.Tensor], list[Losses]], stored: dict[str, np.ndarray]
) -> None:
    found = [[float(term.detach().mean()) for term in (s.giou, s.conf, s.prob)] for s in losses[1]]
    np.testing.assert_allclose(found, stored["train_loss"], rtol=1e-4)


@pytest.mark.usefixtures("losses")
def test_gradient_norms_equal_the_reference(network: nn.Module, stored: dict[str, np.ndarray]) -> None:
    for i, (block, _) in enumerate(convolutions(network)):
        if isinstance(block, Head):
            pairs = [("kernel", block.weight), ("bias", block.bias)]
        else:
            pairs = [("kernel", block.conv.weight), ("gamma", block.bn.weight), ("beta", block.bn.bias)]
        for name, parameter in pairs:
            assert parameter.grad is not None
            assert float(parameter.grad.norm()) == pytest.approx(
                float(stored[f"train_gradnorm_{name}"][i]), rel=0.02
            ), f"convolution {i}, {name}"


@pytest.mark.usefixtures("losses")
def test_running_statistics_equal_the_reference(network: nn.Module, stored: dict[str, np.ndarray]) -> None:
    for i, (block, _) in enumerate(convolutions(network)):
        if not isinstance(block, Head):
            mean, variance = block.bn.running_mean[:8], block.bn.running_var[:8]
            np.testing.assert_allclose(mean, stored["train_running_mean_first8"][i][: len(mean)], atol=1e-6)
            np.testing.assert_allclose(
                variance, stored["train_running_var_first8"][i][: len(mean)], rtol=1e-5
            )


@pytest.mark.usefixtures("losses")
def test_the_first_step_equals_the_reference(network: nn.Module, stored: dict[str, np.ndarray]) -> None:
    """Adam's first step equals the rate, against the sign of the gradient, on the sampled kernel entries.

    Entries whose gradient is below a tenth of the largest in their convolution are left out, because the
    reference's own rounding changes them by more.
    """
    before = {name: each.detach().clone() for name, each in network.named_parameters()}
    names = {id(each): name for name, each in network.named_parameters()}
    rate = make_schedule(CLASSIC, steps_per_epoch=50)(1)
    assert rate == pytest.approx(1e-3 / 100), "the first of two warm-up epochs of 50 steps"
    optimizer = make_optimizer(network, CLASSIC.optimizer)
    set_rate(optimizer, rate)
    optimizer.step()
    seen = 0
    for i, (block, _) in enumerate(convolutions(network)):
        kernel = block.weight if isinstance(block, Head) else block.conv.weight
        moved = (kernel.detach() - before[names[id(kernel)]]).numpy()
        gradients = stored["train_kernel_grad_val"][i]
        for index, gradient in zip(stored["train_kernel_grad_idx"][i], gradients, strict=True):
            if abs(gradient) > max(0.1 * np.abs(gradients).max(), 1e-5):
                assert moved[tuple(index)] == pytest.approx(-rate * np.sign(gradient), rel=1e-2), i
                seen += 1
    assert seen > 100
