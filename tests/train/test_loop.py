"""Test the loop: one step computed by hand, its reports, and its counts."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lookonce.config import TrainSettings
from lookonce.data.loader import Batch, Loader
from lookonce.model.blocks import follow_statistics
from lookonce.recipe import load_settings
from lookonce.train.clock import Course
from lookonce.train.learner import Learner, forward
from lookonce.train.loop import Epoch, StepReport, train_one_epoch
from lookonce.train.schedule import Schedule
from lookonce.train.setup import TrainData, describe, make_dataset, make_network
from tests.data.drawn_samples import INFO, draw_samples

SGD = ("optimizer.name=sgd", "optimizer.momentum=0", "ema=0", "precision=float32")
SCHEDULE = Schedule(0.01, 0.001, warmup=0, steps=4)


def wanted(*assignments: str) -> TrainSettings:
    quick = ("width=0.125", "size=64x96", "batch=2", "workers=0", "log_every=1")
    return load_settings(None, (*quick, *SGD, *assignments))


@pytest.fixture
def data(tmp_path: Path) -> TrainData:
    """Make seven images, for batches of 2, 2, 2 and 1."""
    return TrainData(INFO.names, draw_samples(tmp_path, 7), ())


def trained(
    data: TrainData, settings: TrainSettings
) -> tuple[nn.Module, nn.Module, list[list[Batch]], list[StepReport | None]]:
    """Return the network before and after an epoch, the batches of each step, and the reports."""
    torch.manual_seed(0)
    info = describe(data, settings)
    network = make_network(info, settings)
    before = deepcopy(network)
    reports: list[StepReport | None] = []
    dataset, accumulate = make_dataset(data, info, settings), settings.optimizer.accumulate
    with Loader(dataset, settings.batch_size, 0, accumulate=accumulate) as loader:
        train_one_epoch(Learner(network, info, settings), loader, Course(SCHEDULE), Epoch(0), reports.append)
        return before, network, [list(step) for step in loader.steps(0)], reports


def by_hand(
    network: nn.Module, data: TrainData, settings: TrainSettings, steps: list[list[Batch]]
) -> dict[str, Tensor]:
    """Compute plain gradient descent on the mean loss of the batches of each step."""
    info, seen = describe(data, settings), 0
    network.train()
    for number, step in enumerate(steps, start=1):
        network.zero_grad()
        for batch in step:
            seen += 1
            follow_statistics(network, seen, settings.batch_norm)
            losses = forward(network, batch, info, settings)
            (losses.per_image().mean() / len(step)).backward()
        with torch.no_grad():
            for parameter in network.parameters():
                assert parameter.grad is not None
                parameter -= SCHEDULE(number) * parameter.grad
    return dict(network.state_dict())


@pytest.mark.parametrize("accumulate", [1, 2, 3])
def test_a_step_follows_the_mean_gradient_of_its_batches(data: TrainData, accumulate: int) -> None:
    settings = wanted(f"optimizer.accumulate={accumulate}")
    before, after, steps, _ = trained(data, settings)
    assert [len(step) for step in steps] == {1: [1, 1, 1, 1], 2: [2, 2], 3: [3, 1]}[accumulate]
    start = {name: each.detach().clone() for name, each in before.named_parameters()}
    assert_same_way(start, dict(after.named_parameters()), by_hand(before, data, settings, steps))


def assert_same_way(start: dict[str, Tensor], after: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Check that the weights moved as expected, within a thousandth of the distance."""
    way, off = (
        torch.cat([(after[name] - other[name]).detach().flatten() for name in start]).norm()
        for other in (start, expected)
    )
    assert way > 0
    assert off < 1e-3 * way


def test_an_unreadable_batch_still_counts_in_the_mean(data: TrainData) -> None:
    """Otherwise, the images of a smaller step would have more weight than others."""
    settings = wanted("optimizer.accumulate=4", "augment.mosaic=0", "augment.rectangles=false")
    _, _, ((_, second, *_),), _ = trained(data, settings)
    for path in second.paths:
        path.unlink()
    before, after, (left,), _ = trained(data, settings)
    assert len(left) == 3
    weights = {name: weight * 3 / 4 for name, weight in (("giou", 1), ("conf", 1), ("prob", 1))}
    lighter = settings.model_copy(update={"loss": settings.loss.model_copy(update=weights)})
    start = {name: each.detach().clone() for name, each in before.named_parameters()}
    assert_same_way(start, dict(after.named_parameters()), by_hand(before, data, lighter, [left]))


@pytest.mark.parametrize(
    ("log_every", "accumulate", "logged"),
    [(1, 1, [1, 2, 3, 4]), (2, 1, [2, 4]), (3, 1, [3, 4]), (1, 2, [1, 2])],
)
def test_reports_come_every_log_every_steps_and_at_the_end(
    data: TrainData, log_every: int, accumulate: int, logged: list[int]
) -> None:
    settings = wanted(f"log_every={log_every}", f"optimizer.accumulate={accumulate}")
    _, _, steps, reports = trained(data, settings)
    assert len(reports) == len(steps)
    found = [report for report in reports if report]
    assert [report.step for report in found] == logged
    assert [report.rate for report in found] == [SCHEDULE(step) for step in logged]
    assert sum(report.images for report in found) == 7
    for report in found:
        parts = report.losses["giou"] + report.losses["conf"] + report.losses["prob"]
        assert report.losses["total"] == pytest.approx(parts, rel=1e-5)


def test_an_epoch_is_updated_and_can_be_continued(data: TrainData) -> None:
    settings = wanted()
    torch.manual_seed(0)
    info = describe(data, settings)
    learner = Learner(make_network(info, settings), info, settings)
    epoch, seen = Epoch(0, steps=2), []
    with Loader(make_dataset(data, info, settings), 2, 0) as loader:
        train_one_epoch(learner, loader, Course(SCHEDULE), epoch, lambda report: seen.append(epoch.steps))
    assert seen == [3, 4]
    assert epoch.meter.images == 3
    assert 0 < epoch.waited < epoch.seconds
