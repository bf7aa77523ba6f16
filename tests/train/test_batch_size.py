"""Test `batch: auto`: compare the estimate with measured memory, and the choice with the free memory."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from rich.console import Console

from lookonce.errors import ConfigError, TrainingError
from lookonce.recipe import load_settings
from lookonce.runtime.cpu import this_cpu
from lookonce.samples import Sample
from lookonce.train import batch_size
from lookonce.train.batch_size import StepMemory, Trial, choose_batch, free_bytes
from lookonce.train.run import Session, train
from lookonce.train.setup import TrainData
from tests.data.drawn_samples import INFO, draw_samples

ROOT = Path(__file__).resolve().parents[2]
CPU, GIB = torch.device("cpu"), 2**30
TOLERANCE = 0.25  # share of the measured growth; MARGIN covers the rest


def images(count: int) -> TrainData:
    """Make samples without files, as none is read to choose a batch."""
    sample = Sample(Path("none.png"), np.array([[1, 1, 20, 20]] * 5, np.float32), np.zeros(5, np.int64))
    return TrainData(INFO.names, [sample] * count, ())


@pytest.mark.parametrize(
    "assignments",
    [
        ("width=0.5", "size=192", "batch=8", "precision=float32"),
        ("width=0.5", "size=192x256", "batch=12", "precision=bfloat16"),
    ],
)
def test_the_estimate_matches_the_memory_of_a_process(assignments: tuple[str, ...]) -> None:
    if "precision=bfloat16" in assignments and not this_cpu().computes_bfloat16:
        pytest.skip("imitating bfloat16 takes half as much memory again, and nobody trains that way")
    settings = load_settings(None, (*assignments, "workers=0"))
    found = Trial(images(512), settings, CPU).estimate().of(settings.batch_size)

    command = [sys.executable, "-m", "tests.train.step_memory", *assignments, "workers=0"]
    run = subprocess.run(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert found == pytest.approx(int(run.stdout), rel=TOLERANCE)


def test_memory_grows_with_the_largest_input_and_less_with_a_frozen_backbone() -> None:
    plain, varied, frozen = (
        Trial(images(9), load_settings(None, ("width=0.125", "size=96x64", *extra)), CPU)
        for extra in ([], ["augment.multi_scale=0.5"], ["freeze=backbone"])
    )
    assert (plain.size, varied.size) == ((96, 64), (144 // 32 * 32, 96))
    assert varied.estimate().per_image > 1.7 * plain.estimate().per_image
    assert frozen.estimate().per_image < 0.5 * plain.estimate().per_image


@pytest.mark.parametrize(
    ("count", "room", "expected", "limit"),
    [
        (512, 100 * GIB, 64, "at most 64"),
        (205, 100 * GIB, 24, "8 steps per epoch"),
        (3, 100 * GIB, 1, "8 steps per epoch"),
        (512, 22 * GIB, 32, "80% of the memory"),
        (512, 7 * GIB, 8, "80% of the memory"),
        (512, 4 * GIB, 4, "80% of the memory"),
    ],
)
def test_the_batch_shrinks_with_free_memory(
    monkeypatch: pytest.MonkeyPatch, count: int, room: int, expected: int, limit: str
) -> None:
    monkeypatch.setattr(Trial, "estimate", lambda trial: StepMemory(fixed=GIB // 2, per_image=GIB // 2 - 1))
    monkeypatch.setattr(batch_size, "free_bytes", lambda: room)
    choice = choose_batch(images(count), load_settings(None), CPU)
    assert choice.batch == expected
    assert f"batch {expected}: a step at 416x416 takes" in choice.why
    assert f"(limited by: {limit}); the learning rate stays 0.001" in choice.why


def test_memory_for_no_image_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_size, "free_bytes", lambda: 2**20)
    with pytest.raises(TrainingError, match=r"not even one image of 64x96 fits into 80% of 0\.00 GiB"):
        choose_batch(images(99), load_settings(None, ("width=0.125", "size=64x96")), CPU)


def test_on_a_gpu_the_largest_batch_that_fits_is_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []

    def peak(trial: Trial, batch: int) -> int:
        tried.append(batch)
        if batch > 40:
            raise torch.OutOfMemoryError
        return batch * GIB

    monkeypatch.setattr(Trial, "peak_on_cuda", peak)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (42 * GIB, 80 * GIB))
    choice = choose_batch(images(512), load_settings(None), torch.device("cuda"))
    assert choice.batch == 32, "40 runs, but leaves no margin"
    assert tried == [64, 56, 48, 40, 32]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
def test_a_real_gpu_takes_more_memory_for_more_images() -> None:
    trial = Trial(images(99), load_settings(None, ("size=256",)), torch.device("cuda"))
    assert 0 < trial.peak_on_cuda(2) < trial.peak_on_cuda(32)


def system(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


MEMINFO = "MemTotal:       8000 kB\nMemFree:         100 kB\nMemAvailable:   5000 kB\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 5000 * 1024),
        ({"proc/self/cgroup": "0::/\n"}, 5000 * 1024),
        (
            {
                "proc/self/cgroup": "0::/job/step\n",
                "sys/fs/cgroup/job/step/memory.max": "max\n",
                "sys/fs/cgroup/job/step/memory.current": "7\n",
                "sys/fs/cgroup/job/memory.max": "3000000\n",
                "sys/fs/cgroup/job/memory.current": "1000000\n",
                "sys/fs/cgroup/job/memory.stat": "anon 900\ninactive_file 400\n",
            },
            2_000_400,
        ),
        (
            {
                "proc/self/cgroup": "9:cpu:/\n4:memory:/elsewhere\n",  # as in a container
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "1000000\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000500\n",
            },
            0,
        ),
    ],
)
def test_free_memory_is_the_smallest_limit_of_kernel_and_cgroups(
    tmp_path: Path, files: dict[str, str], expected: int
) -> None:
    assert free_bytes(system(tmp_path, {"proc/meminfo": MEMINFO, **files})) == expected


def test_unknown_free_memory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="set batch to a number"):
        free_bytes(tmp_path)


def test_a_run_records_its_batch_and_resumes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = draw_samples(tmp_path, 17)
    data = TrainData(INFO.names, samples, ())
    quick = ("width=0.125", "size=64x96", "workers=0", "batch=auto", "evaluate_every=9")
    said = io.StringIO()
    console = Console(file=said, width=60)
    out = tmp_path / "run"

    train(data, load_settings(None, (*quick, "epochs=1")), out, Session(console))
    assert yaml.safe_load((out / "settings.yaml").read_text())["batch"] == 2
    assert "batch 2: a step at 64x96 takes" in said.getvalue()

    monkeypatch.setattr(batch_size, "free_bytes", lambda: 1)  # a busier machine does not change a resumed run
    train(data, load_settings(None, (*quick, "epochs=2")), out, Session(console), resume=True)
    assert yaml.safe_load((out / "settings.yaml").read_text())["batch"] == 2
    assert said.getvalue().count("limited by") == 1
