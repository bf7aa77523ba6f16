"""A compiled run: which steps are compiled, and that its checkpoints are those of the network itself."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lookonce.errors import TrainingError
from lookonce.model.files import load_weights
from lookonce.train.checkpoint import LAST
from lookonce.train.plan import TrainData
from lookonce.train.run import train
from tests.data.drawn_samples import INFO, draw_samples
from tests.train.test_run import CutOffError, _saving_until, quiet, settings


@pytest.fixture
def data(tmp_path: Path) -> TrainData:
    return TrainData(INFO.names, draw_samples(tmp_path, 7), ())


def test_checkpoints_and_resume_are_those_of_the_network_itself(
    data: TrainData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def compiler(function: Callable[..., object]) -> Callable[..., object]:
        def counted(images: Tensor) -> object:
            sizes.append(len(images))
            return function(images)

        return counted

    monkeypatch.setattr(torch, "compile", compiler)
    wanted = "epochs=14", "precision=float32", "evaluate_every=14"
    train(data, settings(*wanted), tmp_path / "eager", quiet())
    with monkeypatch.context() as patch:
        patch.setattr("lookonce.train.run.checkpoint.save", _saving_until(13))
        with pytest.raises(CutOffError):
            train(data, settings(*wanted, "compile=true"), tmp_path / "cut", quiet())
    train(data, settings(*wanted, "compile=true"), tmp_path / "cut", quiet(), resume=True)

    # batches of 3, 3 and 1; from step 34, in the twelfth epoch, momentum stays; the thirteenth ran twice
    assert [size for size in sizes if size != 8] == 8 * [3]
    eager, compiled = (load_weights(tmp_path / name / LAST)[0] for name in ("eager", "cut"))
    assert eager.keys() == compiled.keys()
    assert all(torch.equal(eager[name], compiled[name]) for name in eager)


def test_without_a_compiler_the_run_does_not_start(
    data: TrainData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(function: object) -> object:
        raise RuntimeError("No working C++ compiler found\nand a page more")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(TrainingError, match=r"No working C\+\+ compiler found; leave it out"):
        train(data, settings("compile=true"), tmp_path / "run", quiet())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch's compiler warns of torch
def test_the_real_compiler_learns_the_same(data: TrainData, tmp_path: Path) -> None:
    finals = []
    for compiled in ("false", "true"):
        out = tmp_path / compiled
        train(data, settings("epochs=15", "precision=float32", f"compile={compiled}"), out, quiet())
        finals.append(float((out / "epochs.csv").read_text().splitlines()[-1].split(",")[1]))
    assert finals[1] == pytest.approx(finals[0], rel=0.02)
