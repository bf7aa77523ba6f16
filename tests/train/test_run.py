"""Test whole runs: the files they leave, and that interruptions lose nothing."""

import csv
import io
import itertools
import math
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from rich.console import Console
from torch import nn

from lookonce._files import replacing
from lookonce.config import Objective, TrainSettings
from lookonce.data.loader import Loader
from lookonce.errors import ConfigError, ModelFileError, TrainingError
from lookonce.metadata import OBJECTIVE
from lookonce.model.files import load_model, load_training, load_weights, save_model
from lookonce.recipe import load_settings
from lookonce.runtime.detector import Detector
from lookonce.train.checkpoint import BEST, LAST, Progress
from lookonce.train.ema import Ema
from lookonce.train.run import Session, Stopped, train
from lookonce.train.setup import TrainData, describe, make_dataset
from tests.command_line import typed
from tests.data.drawn_samples import INFO, draw_samples

QUICK = ("width=0.125", "size=64x96", "batch=3", "workers=1", "log_every=2", "optimizer.warmup_epochs=0.5")


def settings(*assignments: str) -> TrainSettings:
    return load_settings(None, (*QUICK, *assignments))


def quiet(stop: Callable[[], bool] = lambda: False) -> Session:
    return Session(Console(file=io.StringIO(), width=200), stop=stop)


@pytest.fixture
def data(tmp_path: Path) -> TrainData:
    samples = draw_samples(tmp_path, 7)
    return TrainData(INFO.names, samples, samples[:4])


def weights(folder: Path, name: str = LAST) -> dict[str, torch.Tensor]:
    return load_weights(folder / name)[0]


def test_a_run_leaves_models_settings_and_logs(data: TrainData, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = train(data, settings("epochs=2"), out, quiet())
    assert result.model == out / BEST
    assert result.progress.epochs == 2
    with Detector.open(result.model) as detector:
        assert detector.size == (64, 96)
        detector(data.train[0].path)
    objective = Objective.model_validate(load_weights(result.model)[1].training[OBJECTIVE])
    assert objective.differences() == ("loss.objectness=iou",)
    with (out / "epochs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    with (out / "steps.csv").open() as file:
        steps = list(csv.DictReader(file))
    assert [step["step"] for step in steps] == ["2", "3", "5", "6"]
    for step in steps:
        parts = sum(float(step[name]) for name in ("giou_loss", "conf_loss", "prob_loss"))
        assert float(step["total_loss"]) == pytest.approx(parts, rel=1e-4)
    assert list((out / "tensorboard").iterdir())
    assert not list(out.glob(".*")), "temporary files left behind"


def test_tensorboard_has_the_write_ups_scalars(data: TrainData, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(data, settings("epochs=1"), tmp_path / "run", quiet())
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    terms = {"loss/total_loss", "loss/giou_loss", "loss/conf_loss", "loss/prob_loss"}
    assert {"lr", "val/ap", "val/ap50"} | terms <= set(events.Tags()["scalars"])
    assert events.Tags()["images"] == ["val/predictions"]


class CutOffError(Exception):
    """Raised by a test within a run."""


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_resumed_run_ends_with_the_same_weights_bit_for_bit(
    data: TrainData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    wanted = settings("epochs=4", f"optimizer.name={optimizer}")
    train(data, wanted, tmp_path / "whole", quiet())
    with monkeypatch.context() as patch:
        patch.setattr("lookonce.train.run.checkpoint.save", _saving_until(3))
        with pytest.raises(CutOffError):
            train(data, wanted, tmp_path / "cut", quiet())
    result = train(data, wanted, tmp_path / "cut", quiet(), resume=True)
    assert result.progress.epochs == 4
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert (tmp_path / "whole/steps.csv").read_text() == (tmp_path / "cut/steps.csv").read_text()


ADDITIONS = (
    "ema=0.9",
    "augment.mosaic=0.5",
    "augment.mixup=0.3",
    "augment.zoom=[0.7,1.5]",
    "augment.hue=0.1",
    "augment.multi_scale=0.4",
    "optimizer.name=adamw",
    "loss.box=ciou",
    "loss.objectness=iou",
    "assign.rule=ratio",
    "repeat_rare=0.9",
)


@pytest.mark.parametrize("steps", [2, 4, 6], ids=["within", "after an epoch", "within the second"])
def test_a_run_with_every_addition_resumes_bit_for_bit(data: TrainData, tmp_path: Path, steps: int) -> None:
    wanted = settings("epochs=2", "evaluate_every=2", *ADDITIONS)
    train(data, wanted, tmp_path / "whole", quiet())
    asked = iter([False] * (steps - 1) + [True])
    with pytest.raises(Stopped):
        train(data, wanted, tmp_path / "cut", quiet(lambda: next(asked)))
    train(data, wanted, tmp_path / "cut", quiet(), resume=True)
    for read in (load_training, lambda file: load_weights(file)[0]):
        whole, resumed = read(tmp_path / "whole" / LAST), read(tmp_path / "cut" / LAST)
        assert whole.keys() == resumed.keys()
        assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert (tmp_path / "whole/steps.csv").read_text() == (tmp_path / "cut/steps.csv").read_text()


def test_the_averaged_weights_are_evaluated_and_kept(
    data: TrainData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The average is computed by hand from the weights after each step."""
    decays = [2 / 11, 3 / 12, 4 / 13]  # at updates 1 to 3, below the decay of the settings
    followed: dict[str, torch.Tensor] = {}
    started = Ema.update

    def follow(ema: Ema, network: nn.Module) -> None:
        now = {name: tensor.double() for name, tensor in network.state_dict().items()}
        before = followed or {name: tensor.double() for name, tensor in ema.network.state_dict().items()}
        decay = decays[ema.updates]
        followed.update({name: decay * before[name] + (1 - decay) * now[name] for name in now})
        started(ema, network)

    monkeypatch.setattr(Ema, "update", follow)
    train(data, settings("epochs=1", "ema=0.9"), tmp_path / "run", quiet())
    best, last = weights(tmp_path / "run", BEST), weights(tmp_path / "run", LAST)
    kept = load_training(tmp_path / "run" / LAST)
    assert int(kept["ema/updates"]) == 3
    differing = 0
    for name, tensor in best.items():
        assert torch.equal(tensor, last[name])
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor.double(), followed[name], rtol=1e-4, atol=1e-6)
            differing += not torch.equal(tensor, kept[f"learning/{name}"])
    assert differing > 20
    assert load_model(tmp_path / "run" / LAST)[0].state_dict().keys() == best.keys()


def test_an_averaged_run_can_be_extended(data: TrainData, tmp_path: Path) -> None:
    train(data, settings("epochs=1", *ADDITIONS), tmp_path / "run", quiet())
    steps = int(load_training(tmp_path / "run" / LAST)["ema/updates"])
    result = train(data, settings("epochs=2", *ADDITIONS), tmp_path / "run", quiet(), resume=True)
    assert result.progress.epochs == 2
    assert int(load_training(tmp_path / "run" / LAST)["ema/updates"]) == 2 * steps


def test_a_run_from_before_a_setting_existed_resumes(data: TrainData, tmp_path: Path) -> None:
    asked = iter([False, True])
    with pytest.raises(Stopped):
        train(data, settings("epochs=1"), tmp_path / "run", quiet(lambda: next(asked)))
    file = tmp_path / "run" / "settings.yaml"
    older = {name: value for name, value in yaml.safe_load(file.read_text()).items() if name != "ema"}
    del older["augment"]["mosaic"]
    file.write_text(yaml.safe_dump(older))
    assert train(data, settings("epochs=1"), tmp_path / "run", quiet(), resume=True).progress.epochs == 1


def test_changed_anchors_cannot_resume(data: TrainData, tmp_path: Path) -> None:
    train(data, settings("epochs=1", "anchors=data"), tmp_path / "run", quiet())
    other = [replace(each, boxes=each.boxes * np.float32(0.9)) for each in data.train]
    expected = r"last\.safetensors: expected the checkpoint of a model with anchors \(.*, found \(.*"
    with pytest.raises(TrainingError, match=expected + r"can start from its weights"):
        train(
            TrainData(data.names, other, data.val),
            settings("epochs=1", "anchors=data"),
            tmp_path / "run",
            quiet(),
            resume=True,
        )


def test_changed_data_is_reported_and_used(data: TrainData, tmp_path: Path) -> None:
    train(data, settings("epochs=1"), tmp_path / "run", quiet())
    moved = [replace(each, path=tmp_path / each.path.name) for each in data.train]
    fewer = TrainData(data.names, data.train[:-1], data.val)
    other = TrainData(data.names, [*data.train[:-1], data.train[-1].pick(np.zeros(0, int))], data.val)
    said = {}
    for name, now in (("same", data), ("fewer", fewer), ("other", other)):
        shutil.copytree(tmp_path / "run", tmp_path / name)
        written = io.StringIO()
        train(now, settings("epochs=2"), tmp_path / name, Session(Console(file=written)), resume=True)
        said[name] = written.getvalue()
    assert TrainData(data.names, moved, data.val).summary() == data.summary()
    boxes = sum(len(each.labels) for each in data.train)
    without = boxes - len(data.train[-1].labels)
    rest = f"training images with {without} boxes and {len(data.val)} validation images"
    found = {"fewer": f"found {len(data.train) - 1} {rest}", "other": f"found {len(data.train)} {rest}"}
    assert "the data changed" not in said["same"]
    for name, expected in found.items():
        assert (
            f"the data changed: expected {len(data.train)} training images with {boxes} boxes" in said[name]
        )
        assert expected in said[name]


def test_other_data_does_not_spoil_a_run(data: TrainData, tmp_path: Path) -> None:
    train(data, settings("epochs=1"), tmp_path / "run", quiet())
    files = [tmp_path / "run" / name for name in (LAST, "settings.yaml", "epochs.csv", "steps.csv")]
    before = [file.read_bytes() for file in files]
    for other in (replace(data, train=data.train[:5]), replace(data, val=data.train)):
        with pytest.raises(
            TrainingError,
            match=r"data changed: expected 7 training images.*too different to resume.*from its weights",
        ):
            train(other, settings("epochs=2"), tmp_path / "run", quiet(), resume=True)
    assert [file.read_bytes() for file in files] == before


def test_rare_classes_lengthen_the_epoch_and_the_schedule(data: TrainData, tmp_path: Path) -> None:
    samples = [replace(each, labels=np.zeros_like(each.labels)) for each in data.train]
    samples[3] = replace(samples[3], labels=np.full_like(samples[3].labels, 2))  # one in seven: factor 2.65
    wanted = settings("epochs=2", "repeat_rare=1.0", "log_every=1")
    train(TrainData(data.names, samples, ()), wanted, tmp_path / "run", quiet())
    with (tmp_path / "run" / "steps.csv").open() as file:
        rows = list(csv.DictReader(file))
    length = len(make_dataset(TrainData(data.names, samples, ()), describe(data, wanted), wanted))
    assert length > 9
    batches = -(-length // 3)
    assert [int(row["step"]) for row in rows] == list(range(1, 2 * batches + 1))
    assert float(rows[-1]["lr"]) == pytest.approx(wanted.optimizer.end_rate)


def _saving_until(epoch: int) -> object:
    """Save as usual, but raise instead of writing the checkpoint of `epoch`."""
    from lookonce.train.checkpoint import save

    def saving(*arguments):  # type: ignore[no-untyped-def]
        if any(isinstance(each, Progress) and each.epochs == epoch for each in arguments):
            raise CutOffError
        return save(*arguments)

    return saving


def test_a_killed_process_resumes(tmp_path: Path) -> None:
    folder, out = tmp_path / "images", tmp_path / "run"
    lines = write_lines(folder)
    (folder / "things.names").write_text("disc\nbar\nring\n")
    command = [sys.executable, "-m", "lookonce", "train", str(lines), "--names", str(folder / "things.names")]
    command += ["--out", str(out), "--epochs", "6"]
    for assignment in QUICK:
        command += ["--set", assignment]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    give_up = time.monotonic() + 300
    while not (out / LAST).exists() and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    load_model(out / LAST)
    assert typed(*command[3:], "--resume") == 0
    with (out / "epochs.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3", "4", "5", "6"]


def write_lines(folder: Path) -> Path:
    """Write the drawn images as one-line text."""
    folder.mkdir()
    rows = []
    for sample in draw_samples(folder, 7):
        boxes = [
            ",".join([f"{v:.2f}" for v in box] + [str(label)])
            for box, label in zip(sample.boxes, sample.labels, strict=True)
        ]
        rows.append(" ".join([f'"{sample.path.name}"', *boxes]))
    lines = folder / "lines.txt"
    lines.write_text("\n".join(rows) + "\n")
    return lines


def test_a_folder_that_holds_a_run_is_not_overwritten(data: TrainData, tmp_path: Path) -> None:
    train(data, settings("epochs=1"), tmp_path / "run", quiet())
    before = (tmp_path / "run" / LAST).read_bytes()
    with pytest.raises(ConfigError, match="expected a new folder, found a run"):
        train(data, settings("epochs=1"), tmp_path / "run", quiet())
    with pytest.raises(ConfigError, match="keeps its settings"):
        train(data, settings("epochs=1", "seed=1"), tmp_path / "run", quiet(), resume=True)
    assert (tmp_path / "run" / LAST).read_bytes() == before
    (tmp_path / "run" / LAST).unlink()  # large, and the best model is kept for use
    with pytest.raises(ConfigError, match="expected a new folder, found a run"):
        train(data, settings("epochs=1"), tmp_path / "run", quiet())


def test_files_left_by_a_kill_are_removed(data: TrainData, tmp_path: Path) -> None:
    train(data, settings("epochs=1"), tmp_path / "run", quiet())
    with replacing(tmp_path / LAST) as temporary:
        half = tmp_path / "run" / temporary.name  # leftover of a kill in the run folder
        temporary.touch()
    half.write_bytes(b"half a checkpoint")
    train(data, settings("epochs=1"), tmp_path / "run", quiet(), resume=True)
    assert not half.exists()
    load_model(tmp_path / "run" / LAST)


def test_resuming_nothing_is_an_error(data: TrainData, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to resume"):
        train(data, settings("epochs=1"), tmp_path / "run", quiet(), resume=True)


def test_a_non_finite_loss_stops_and_names_the_image(data: TrainData, tmp_path: Path) -> None:
    hopeless = settings("epochs=30", "optimizer.name=sgd", "optimizer.rate=1e30", "optimizer.warmup_epochs=0")
    with pytest.raises(TrainingError, match=r"not finite on .*image \d\.png.*optimizer\.rate"):
        train(data, hopeless, tmp_path / "run", quiet())


def test_an_unreadable_image_is_skipped(data: TrainData, tmp_path: Path) -> None:
    data.train[5].path.write_bytes(b"<html>not an image</html>")
    console = Console(record=True, width=300, file=io.StringIO())
    result = train(data, settings("epochs=2"), tmp_path / "run", Session(console))
    assert result.progress.epochs == 2
    said = console.export_text()
    assert len(re.findall(r"skipped.*image 5\.png", said)) == 1


def test_without_validation_images_the_last_model_is_the_best(data: TrainData, tmp_path: Path) -> None:
    train(TrainData(data.names, data.train, ()), settings("epochs=2"), tmp_path / "run", quiet())
    best, last = weights(tmp_path / "run", BEST), weights(tmp_path / "run", LAST)
    assert all(torch.equal(best[name], last[name]) for name in last)


def test_the_model_stores_the_thresholds_of_its_validation(
    data: TrainData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = [tuple(0.1 * (c + epoch) for c in range(len(INFO.names))) for epoch in (1, 2)]
    following = iter(chosen)
    monkeypatch.setattr("lookonce.train.validate.choose_thresholds", lambda matches: next(following))
    train(data, settings("epochs=2"), tmp_path / "run", quiet())
    assert load_weights(tmp_path / "run" / BEST)[1].thresholds == pytest.approx(chosen[1])
    with Detector.open(tmp_path / "run") as detector:
        assert list(detector.options.conf.values()) == pytest.approx(chosen[1])
    monkeypatch.undo()
    result = train(data, settings("epochs=3"), tmp_path / "run", quiet(), resume=True)
    assert result.progress.epochs == 3


def test_of_equal_models_the_one_trained_for_longer_is_kept(data: TrainData, tmp_path: Path) -> None:
    """AP is still 0 after both epochs."""
    result = train(data, settings("epochs=2"), tmp_path / "run", quiet())
    assert (result.progress.best_ap, result.progress.best_epoch) == (0, 2)
    assert load_weights(tmp_path / "run" / BEST)[1].training["epoch"] == 2


def test_a_validation_split_without_objects_is_reported_once(data: TrainData, tmp_path: Path) -> None:
    empty = replace(data.val[0], boxes=np.zeros((0, 4), np.float32), labels=np.zeros(0, np.int64))
    empty = replace(empty, difficult=np.zeros(0, bool), crowd=np.zeros(0, bool))
    console = Console(record=True, width=300, file=io.StringIO())
    result = train(
        TrainData(data.names, data.train, [empty]), settings("epochs=2"), tmp_path / "run", Session(console)
    )
    said = console.export_text()
    assert said.count("no object in the validation split") == 1
    assert "nan" not in said
    assert result.progress.best_epoch == 2


def test_a_validation_image_that_vanishes_is_skipped_once(data: TrainData, tmp_path: Path) -> None:
    own = [replace(each, path=tmp_path / f"val_{each.path.name}") for each in data.val]
    for mine, each in zip(own, data.val, strict=True):
        shutil.copy(each.path, mine.path)

    def vanish() -> bool:
        own[1].path.unlink(missing_ok=True)
        return False

    console = Console(record=True, width=300, file=io.StringIO())
    wanted = settings("epochs=2")
    result = train(
        TrainData(data.names, data.train, own), wanted, tmp_path / "run", Session(console, stop=vanish)
    )

    said = console.export_text()
    assert said.count(f"skipped: {own[1].path}: ") == 1
    assert said.count("AP50") == 2
    assert result.progress.epochs == 2


def test_a_finished_run_says_how_to_extend_it(data: TrainData, tmp_path: Path) -> None:
    train(data, settings("epochs=1"), tmp_path / "run", quiet())
    before = (tmp_path / "run" / LAST).read_bytes()
    console = Console(record=True, width=300, file=io.StringIO())
    train(data, settings("epochs=1"), tmp_path / "run", Session(console), resume=True)
    said = console.export_text()
    assert "the only epoch is done; extend the run to train for more" in said
    assert "2/1" not in said
    assert (tmp_path / "run" / LAST).read_bytes() == before


def test_transfer_copies_what_fits_and_leaves_other_heads(data: TrainData, tmp_path: Path) -> None:
    train(data, settings("epochs=1"), tmp_path / "first", quiet())
    other = TrainData(("cat", "dog", "cow"), data.train, ())
    frozen = settings("epochs=1", "freeze=backbone")
    train(other, frozen, tmp_path / "second", quiet(), weights=tmp_path / "first" / LAST)
    before, after = weights(tmp_path / "first"), weights(tmp_path / "second")
    backbone = [name for name in before if name.startswith("backbone.")]
    assert len(backbone) > 20
    assert all(torch.equal(before[name], after[name]) for name in backbone), "the backbone is frozen"
    assert not torch.equal(before["fine.conv.weight"], after["fine.conv.weight"])


def test_weights_that_do_not_fit_are_refused(data: TrainData, tmp_path: Path) -> None:
    info = describe(data, settings())
    save_model(tmp_path / "other.safetensors", {"something.else": torch.zeros(3)}, info)
    wider = settings("epochs=1", "width=0.25")
    with pytest.raises(ModelFileError, match=r"expected a model of width 0\.25, found 0\.125"):
        train(data, wider, tmp_path / "wider", quiet(), weights=tmp_path / "other.safetensors")
    with pytest.raises(ModelFileError, match="found none"):
        train(data, settings("epochs=1"), tmp_path / "run", quiet(), weights=tmp_path / "other.safetensors")


def test_accumulated_batches_are_one_step_in_the_log(data: TrainData, tmp_path: Path) -> None:
    """Three batches per epoch, two per step."""
    train(data, settings("epochs=2", "optimizer.accumulate=2", "log_every=1"), tmp_path / "run", quiet())
    with (tmp_path / "run" / "steps.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [1, 2, 3, 4]


def test_a_step_ends_even_if_its_last_batch_is_unreadable(data: TrainData, tmp_path: Path) -> None:
    plain = ("augment.mosaic=0", "augment.rectangles=false")  # so that it changes no other batch
    wanted = settings("epochs=1", "batch=1", "optimizer.accumulate=2", "log_every=1", *plain)
    dataset = make_dataset(data, describe(data, wanted), wanted)
    second = next(itertools.islice(chain.from_iterable(Loader(dataset, 1, workers=0).steps(0)), 1, None))
    second.paths[0].write_bytes(b"not an image")
    train(TrainData(data.names, data.train, ()), wanted, tmp_path / "run", quiet())
    with (tmp_path / "run" / "steps.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == [1, 2, 3, 4]


def test_a_step_of_fewer_batches_is_their_mean(data: TrainData, tmp_path: Path) -> None:
    few = TrainData(data.names, data.train[:3], ())  # one batch per epoch
    for accumulate in (1, 4):
        wanted = settings("epochs=2", f"optimizer.accumulate={accumulate}", "optimizer.name=sgd")
        train(few, wanted, tmp_path / str(accumulate), quiet())
    one, four = weights(tmp_path / "1"), weights(tmp_path / "4")
    assert all(torch.equal(one[name], four[name]) for name in one)


def test_anchors_from_data_fit_the_boxes_in_the_input(data: TrainData) -> None:
    fine, coarse = describe(data, settings("anchors=data")).anchors
    published = describe(data, settings("anchors=official")).anchors
    assert np.array(fine).min() > 8  # as the boxes are in inputs of 96
    assert np.array(fine).max() < 30
    assert coarse == published[1]


def test_bfloat16_learns_like_float32(data: TrainData, tmp_path: Path) -> None:
    for precision in ("float32", "bfloat16"):
        train(data, settings("epochs=3", f"precision={precision}"), tmp_path / precision, quiet())
    rows = [
        (tmp_path / precision / "epochs.csv").read_text().splitlines()[-1]
        for precision in ("float32", "bfloat16")
    ]
    finals = [float(row.split(",")[1]) for row in rows]
    assert finals[1] == pytest.approx(finals[0], rel=0.05)
    assert not math.isclose(finals[0], finals[1], rel_tol=1e-9), "both ran in float32"


def test_out_of_memory_says_what_to_lower(tmp_path: Path) -> None:
    lines = write_lines(tmp_path / "images")
    (tmp_path / "things.names").write_text("disc\nbar\nring\n")
    command = [sys.executable, "-m", "lookonce", "train", str(lines), "--size", "2048"]
    command += ["--names", str(tmp_path / "things.names"), "--out", str(tmp_path / "run")]
    four_gigabytes = 4 * 2**30
    ran = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (four_gigabytes, four_gigabytes)),
    )
    assert ran.returncode == 2, ran.stderr
    assert "out of memory at batch 4, size 2048x2048: use a smaller batch" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_other_errors_are_not_taken_for_out_of_memory(
    data: TrainData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(*_: object) -> None:
        torch.empty(2, 2, memory_format=torch.preserve_format)

    monkeypatch.setattr("lookonce.train.learner.forward", forward)
    with pytest.raises(RuntimeError, match="unsupported memory format"):
        train(data, settings("epochs=1"), tmp_path / "run", quiet())
