"""Test that two real processes train like one, and that neither outlives the other."""

import csv
import io
import os
import pickle
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from rich.console import Console

from lookonce.data.dataset import Dataset
from lookonce.errors import ConfigError
from lookonce.model.backend import TorchBackend
from lookonce.model.files import load_model, load_weights, save_model
from lookonce.runtime.detector import Detector
from lookonce.runtime.options import EVALUATION_CONF, DetectOptions
from lookonce.train.checkpoint import LAST
from lookonce.train.parallel import ALONE, Group, SharedLoader, join
from lookonce.train.run import Session, Stopped, train
from lookonce.train.setup import TrainData, describe
from tests.darknet.kinds import KINDS
from tests.data.drawn_samples import INFO, draw_samples
from tests.train.ranks import START, norm_of, normalize, started_network
from tests.train.test_run import settings, write_lines

ROOT = Path(__file__).resolve().parents[2]
SINGLE = {**os.environ, "OMP_NUM_THREADS": "1"}
SEED = 2
T = TypeVar("T")
SAME = (
    f"seed={SEED}",
    "precision=float32",
    "sync_bn=true",
    "log_every=1",
    "optimizer.name=sgd",
    "optimizer.rate=1e-4",
    "optimizer.warmup_epochs=0",
)


@pytest.fixture
def data(tmp_path: Path) -> TrainData:
    samples = draw_samples(tmp_path, 7)
    data = TrainData(INFO.names, samples, samples[:2])
    (tmp_path / "data.pickle").write_bytes(pickle.dumps(data))
    info = describe(data, settings(*SAME))
    save_model(tmp_path / START, started_network(info).state_dict(), info)
    return data


def in_two(folder: Path, scenario: str, *runs: tuple[str, ...]) -> tuple[list[int], list[str]]:
    """Return exit codes and output by rank."""
    (folder / "runs.txt").write_text("".join(" ".join(run) + "\n" for run in runs))
    command = [sys.executable, "-m", "tests.train.ranks", scenario, str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env=SINGLE, capture_output=True, text=True, check=False, timeout=300
    )
    said = [(folder / f"rank{rank}.txt").read_text() for rank in range(2)]
    assert done.returncode == 0, done.stderr + "".join(said)
    return [int(code) for code in done.stdout.split()], said


def in_one(folder: Path, data: TrainData, name: str, *assignments: str, resume: bool = False) -> str:
    """Return the output."""
    console = Console(file=io.StringIO(), width=200, record=True)
    train(
        data, settings(*assignments), folder / name, Session(console), weights=folder / START, resume=resume
    )
    return console.export_text()


def columns(file: Path) -> dict[str, list[float]]:
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


def assert_same_run(one: Path, two: Path) -> None:
    """Compare two runs within rounding."""
    mine, theirs = columns(one / "steps.csv"), columns(two / "steps.csv")
    assert mine["step"] == theirs["step"]
    for name, values in mine.items():
        np.testing.assert_allclose(theirs[name], values, rtol=1e-4, err_msg=name)
    start = load_model(one.parent / START)[0]
    weights, others = load_weights(one / LAST)[0], load_weights(two / LAST)[0]
    assert weights.keys() == others.keys() == start.state_dict().keys()
    for name, _ in start.named_buffers():
        torch.testing.assert_close(others[name], weights[name], rtol=1e-3, atol=1e-4)
    names = [name for name, _ in start.named_parameters()]
    before, mine_after, theirs_after = (
        torch.cat([tensors[name].flatten() for name in names])
        for tensors in (start.state_dict(), weights, others)
    )
    assert (theirs_after - mine_after).norm() < 0.005 * (mine_after - before).norm()


def test_two_processes_learn_the_same_as_one(data: TrainData, tmp_path: Path) -> None:
    """Of 7 images in batches of 3, the last batch leaves rank 1 without images, and one is unreadable."""
    data.train[5].path.write_bytes(b"<html>not an image</html>")
    cases = (
        ("plain", *SAME, "epochs=2"),
        ("grouped", *SAME, "epochs=2", "optimizer.accumulate=2", "optimizer.clip=1"),
    )
    codes, (said, by_the_other) = in_two(tmp_path, "runs", *[(f"{name}-two", *rest) for name, *rest in cases])

    assert codes == [0, 0], said
    for name, *rest in cases:
        in_one(tmp_path, data, f"{name}-one", *rest)
        assert_same_run(tmp_path / f"{name}-one", tmp_path / f"{name}-two")
        finished = columns(tmp_path / f"{name}-two" / "epochs.csv")
        assert finished["epoch"] == [1, 2]
        np.testing.assert_allclose(
            finished["total_loss"], columns(tmp_path / f"{name}-one" / "epochs.csv")["total_loss"], rtol=1e-4
        )
    assert said.count("skipped") == 2, "once a run, whichever rank found it"
    assert by_the_other == "", "rank 0 speaks alone"


@pytest.mark.parametrize("name", ["trident", "gray"])
def test_two_processes_learn_the_same_as_one_from_a_cfg(data: TrainData, tmp_path: Path, name: str) -> None:
    """One network has layers that share weights, the other a layer that no head reads."""
    (tmp_path / "x.cfg").write_text(KINDS[name])
    wanted = (*SAME, "epochs=1", "width=1", f"model={tmp_path / 'x.cfg'}")
    info = describe(data, settings(*wanted))
    save_model(tmp_path / START, started_network(info).state_dict(), info)
    codes, (said, _) = in_two(tmp_path, "runs", ("two", *wanted))
    assert codes == [0, 0], said
    in_one(tmp_path, data, "one", *wanted)
    assert_same_run(tmp_path / "one", tmp_path / "two")


def test_synchronized_batch_norm_equals_that_of_the_whole_batch(tmp_path: Path) -> None:
    random = torch.Generator().manual_seed(3)
    cases = []
    for batch, sizes in ((4, (3, 1)), (3, (3, 0)), (2, (0, 2))):
        x = 30 + torch.randn((batch, 5, 3, 4), generator=random)  # a large mean, against cancellation
        cases.append((x, torch.randn(x.shape, generator=random), sizes))
    torch.save(cases, tmp_path / "cases.pt")
    codes, said = in_two(tmp_path, "normalized")

    assert codes == [0, 0], said
    for (x, gradient, _), results in zip(cases, torch.load(tmp_path / "results.pt"), strict=True):
        norm = norm_of(x.shape[1])
        y, of_x = normalize(norm, x, gradient)
        assert norm.weight.grad is not None
        assert norm.bias.grad is not None
        assert norm.running_mean is not None
        assert norm.running_var is not None
        expected = [y, of_x, norm.weight.grad, norm.bias.grad, norm.running_mean, norm.running_var]
        for found, wanted in zip(results, expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_each_image_is_evaluated_once_with_the_statistics_of_rank_0(data: TrainData, tmp_path: Path) -> None:
    """One image is unreadable, and one disappears after that check."""
    data.train[3].path.write_bytes(b"<html>not an image</html>")
    codes, said = in_two(tmp_path, "validated")

    assert codes == [0, 0], said
    samples, detections, metrics, report = pickle.loads((tmp_path / "found.pickle").read_bytes())
    left = [each.path for number, each in enumerate(data.train) if number not in (3, 4)]
    assert [sample.path for sample in samples] == left
    assert report.count("skipped") == 2
    alone = Detector(TorchBackend(started_network().eval(), INFO), DetectOptions(conf=EVALUATION_CONF))
    for sample, found in zip(samples, detections, strict=True):
        expected = alone(sample.path)
        assert len(expected) > 10
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.01)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    assert metrics.keys() == {"ap", "ap50"}


def test_a_run_can_be_resumed_with_another_number_of_processes(data: TrainData, tmp_path: Path) -> None:
    """A signal to one rank stops the run within an epoch; it resumes from two to one, and from one to two."""
    wanted = (*SAME, "epochs=3", "log_every=2")
    codes, said = in_two(tmp_path, "stopped", ("two-one", *wanted))
    assert codes == [143, 143], said
    running = load_weights(tmp_path / "two-one" / LAST)[1].training["running"]
    assert (running["number"], running["steps"]) == (0, 2)
    in_one(tmp_path, data, "two-one", *wanted, resume=True)

    asked = iter(
        [False, False, False, False, True]
    )  # after batch 1 of epoch 2: a loss that was not logged yet
    with pytest.raises(Stopped):
        train(
            data,
            settings(*wanted),
            tmp_path / "one-two",
            Session(Console(quiet=True), stop=lambda: next(asked)),
            weights=tmp_path / START,
        )
    running = load_weights(tmp_path / "one-two" / LAST)[1].training["running"]
    assert (running["number"], running["steps"], running["images"]) == (1, 1, 0)
    codes, said = in_two(tmp_path, "runs", ("one-two", *wanted))
    assert codes == [0, 0], said

    in_one(tmp_path, data, "whole", *wanted)
    assert_same_run(tmp_path / "whole", tmp_path / "two-one")
    assert_same_run(tmp_path / "whole", tmp_path / "one-two")


def test_all_processes_end_by_the_clock_of_rank_0(data: TrainData, tmp_path: Path) -> None:
    wanted = (*SAME, "minutes=0.1", "optimizer.accumulate=2")
    codes, said = in_two(tmp_path, "clocks_differ", ("run", *wanted))
    assert codes == [0, 0], said
    clock = load_weights(tmp_path / "run" / LAST)[1].training["running"]["clock"]
    assert clock["closed"] == 6  # seconds
    assert len(columns(tmp_path / "run" / "steps.csv")["step"]) > 2
    assert "processes: 2" in said[0]
    assert "of 0.1 minutes" in said[0]
    assert not said[1]


def test_a_batch_is_skipped_by_all_processes_or_none(data: TrainData, tmp_path: Path) -> None:
    codes, (said, _) = in_two(tmp_path, "not_finite", ("run", *SAME, "epochs=1", "loss.non_finite=skip"))

    assert codes == [0, 0], said
    assert "1 batch skipped: the loss was not finite" in said
    assert columns(tmp_path / "run/steps.csv")["step"] == [1, 3]
    assert all(each.isfinite().all() for each in load_weights(tmp_path / "run" / LAST)[0].values())


@pytest.mark.parametrize(
    ("scenario", "dead", "survivor"),
    [("killed", 1, 0), ("first_killed", 0, 1), ("killed_while_evaluating", 1, 0)],
)
def test_no_process_outlives_a_dead_one(
    data: TrainData, tmp_path: Path, scenario: str, dead: int, survivor: int
) -> None:
    codes, said = in_two(tmp_path, scenario, ("run", *SAME, "epochs=1"))

    assert codes[dead] < 0, "killed by a signal"
    assert codes[survivor] == 2, said[survivor]
    assert f"lookonce: rank {dead} of 2 (process " in said[survivor]
    assert "is gone" in said[survivor]
    assert "resume from the last checkpoint" in said[survivor]
    assert "Traceback" not in said[survivor]


def test_an_error_of_one_process_is_reported_by_all(data: TrainData, tmp_path: Path) -> None:
    codes, said = in_two(tmp_path, "fails")

    assert codes == [2, 2]
    assert "lookonce: no more disk" in said[1]
    assert "lookonce: rank 1 of 2 ended: no more disk" in said[0]


def test_processes_wait_for_a_long_evaluation(tmp_path: Path) -> None:
    codes, said = in_two(tmp_path, "long_wait")
    assert codes == [0, 0], said


def test_torchrun_starts_a_run(tmp_path: Path) -> None:
    lines, names = write_lines(tmp_path / "images"), tmp_path / "things.names"
    names.write_text("disc\nbar\nring\n")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "lookonce", "train", str(lines), "--names", str(names), "--out", str(tmp_path / "run")]
    for assignment in ("epochs=1", "width=0.125", "size=64x96", "batch=3"):
        command += ["--set", assignment]
    done = subprocess.run(command, env=SINGLE, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("best model:") == 1
    assert len(list((tmp_path / "run/tensorboard").iterdir())) == 1


def test_an_incomplete_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(ConfigError, match=r"MASTER_ADDR.*start with torchrun"), join():
        pass


class Two(Group):
    """One of two processes, of which the other also has an image, and no problem."""

    size = 2

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def gather(self, mine: T) -> list[T]:
        return [mine, (1, [])]  # type: ignore[list-item]


def test_the_parts_of_a_batch_add_up_to_it(data: TrainData) -> None:
    wanted = settings("workers=0", "augment.rectangles=true", "augment.multi_scale=0.5")
    dataset = Dataset(data.train, INFO, wanted.augment)
    whole = list(chain.from_iterable(SharedLoader(ALONE, dataset, wanted).steps(1)))
    parts = [list(chain.from_iterable(SharedLoader(Two(rank), dataset, wanted).steps(1))) for rank in (0, 1)]
    assert sorted(len(batch.paths) for batch in whole) == [1, 3, 3]
    for batch, first, second in zip(whole, *parts, strict=True):
        assert batch.paths[::2] == first.paths
        assert batch.paths[1::2] == second.paths
        assert batch.images.shape[2:] == first.images.shape[2:] == second.images.shape[2:]
        assert torch.equal(batch.images[::2], first.images)
        assert batch.image_count == len(batch.paths)
        assert first.image_count == len(first.paths) + 1, "of all processes, as the other one says"
    assert () in [batch.paths for batch in parts[1]], "a single image leaves none for the second process"
