"""`lookonce train` as a user types it."""

import json
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from lookonce._interrupts import StopRequest
from lookonce.annotations import load_samples, write_samples
from lookonce.cli import app, load
from lookonce.commands.train_options import Options
from lookonce.config import TrainSettings
from lookonce.images import write_image
from lookonce.model.files import load_info, load_model
from lookonce.networks import BUILT_IN, START, model_path
from lookonce.seen import Seen, fingerprints
from lookonce.train.run import Stopped
from tests.command_line import lookonce
from tests.darknet.kinds import KINDS
from tests.data.drawn_samples import draw_samples

QUICK = ["--set", "width=0.125", "--size", "64x96", "--batch", "3", "--set", "workers=1"]


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """Write rendered images as one-line text, in a folder whose name has a space."""
    folder = tmp_path / "my images"
    folder.mkdir()
    rows = []
    for sample in draw_samples(folder, 7):
        boxes = [
            ",".join([*(f"{side:.2f}" for side in box), str(label)])
            for box, label in zip(sample.boxes, sample.labels, strict=True)
        ]
        rows.append(" ".join([f'"{sample.path.name}"', *boxes]))
    (folder / "things.names").write_text("disc\nbar\nring\n")
    (folder / "lines.txt").write_text("\n".join(rows) + "\n")
    return folder / "lines.txt"


def arguments(lines: Path, out: Path, *more: str) -> list[str]:
    names = str(lines.parent / "things.names")
    return ["train", str(lines), "--names", names, "--out", str(out), *QUICK, *more]


@pytest.mark.parametrize(
    ("weights", "recipe", "assignments", "expected"),
    [
        ("coco", None, (), False),
        ("coco", None, ("augment.rectangles=true",), True),
        ("coco", None, ("augment=false",), False),
        ("coco", "default", (), True),
        ("small.cfg", None, (), False),
        ("darknet53.conv.74", None, (), True),
        ("backbone.weights", None, (), True),
        (None, None, (), True),
    ],
)
def test_training_from_a_detector_pads_as_detection_does(
    weights: str | None,
    recipe: str | None,
    assignments: tuple[str, ...],
    expected: bool,
    small_model: Path,
    tmp_path: Path,
) -> None:
    options = Options(Path(recipe) if recipe else None, assignments, {})
    files = {"coco": model_path("coco"), "small.cfg": small_model}
    start = files.get(weights, tmp_path / weights) if weights else None
    settings = options.with_network(start).settings()
    assert settings.augment.rectangles is expected


def test_training_starts_from_the_built_in_network_by_default(lines: Path, tmp_path: Path) -> None:
    chosen_by_none = [word for word in arguments(lines, tmp_path / "run") if word != "width=0.125"]
    chosen_by_none.remove("--set")
    ran = CliRunner().invoke(app, [*chosen_by_none, "--epochs", "1"])
    assert ran.exit_code == 0, ran.output
    assert "coco at 64x96, " in ran.output
    assert "start: coco: copied 82 of 84 convolutions; fresh: layers.120, layers.129" in ran.output
    _, info = load_model(tmp_path / "run" / "best.safetensors")
    assert (info.names, info.strides) == (("disc", "bar", "ring"), (16, 32))


@pytest.mark.parametrize("choice", [["--model", "yolov3-tiny"], ["--recipe", "classic"]])
def test_a_chosen_network_starts_from_random_weights(choice: list[str], lines: Path, tmp_path: Path) -> None:
    small = ["--names", str(lines.parent / "things.names"), "--size", "64", "--epochs", "1", "--out"]
    ran = CliRunner().invoke(app, ["train", str(lines), *small, str(tmp_path / "run"), *choice])
    assert ran.exit_code == 0, ran.output
    assert "start: random weights, seed 0" in ran.output


def test_train_needs_only_data(lines: Path, tmp_path: Path) -> None:
    ran = CliRunner().invoke(app, arguments(lines, tmp_path / "run", "--epochs", "1"))
    assert ran.exit_code == 0, ran.output
    assert "no val split: 1 of 7 images held out for validation" in ran.output
    assert "start: random weights, seed 0" in ran.output
    _, info = load_model(tmp_path / "run" / "best.safetensors")
    assert info.names == ("disc", "bar", "ring")
    assert (info.input_size, info.width) == ((64, 96), 0.125)
    report = json.loads((tmp_path / "run/report/report.json").read_text("utf-8"))
    assert (tmp_path / "run/report/report.html").exists()
    assert report["about"]["split"] == "held-out"
    assert (report["errors"]["images"], len(report["training"]["epochs"])) == (1, 1)
    lines_said = [line.strip() for line in ran.output.splitlines()[-4:]]
    assert [line.split()[:2] for line in lines_said[1::2]] == [["lookonce", "detect"], ["lookonce", "export"]]


def test_the_model_records_its_images_and_evaluate_uses_the_held_out_ones(
    lines: Path, tmp_path: Path
) -> None:
    names = ["--names", str(lines.parent / "things.names")]
    run, report = tmp_path / "run", ["--out", str(tmp_path / "report"), "--explain", "0"]
    ran = CliRunner().invoke(app, arguments(lines, run, "--epochs", "1", "--set", "holdout=0.3"))
    assert ran.exit_code == 0, ran.output
    seen = Seen.of(load_info(run / "best.safetensors").training)
    assert (len(seen.learned), len(seen.held_out)) == (5, 2)

    ran = CliRunner().invoke(app, ["evaluate", str(run), str(lines), *names, *report])
    assert ran.exit_code == 0, ran.output
    assert "held-out: " in ran.output
    assert "2 images" in ran.output
    assert "warning" not in ran.output

    copy = tmp_path / "copy"  # another path, other names, another format
    copy.mkdir()
    for path in lines.parent.glob("*.png"):
        shutil.copy(path, copy / f"copy of {path.name}")
    data = load_samples(lines, None, Path(names[1]))
    moved = [replace(each, path=copy / f"copy of {each.path.name}") for each in data.samples]
    write_samples({"test": replace(data, samples=moved)}, "voc", tmp_path / "voc")
    ran = CliRunner().invoke(app, ["evaluate", str(run), str(tmp_path / "voc"), "--split", "test", *report])
    assert "warning: the model has learned from 5 of the 7 images: the results are optimistic" in ran.output

    more = [
        "--epochs",
        "1",
        "--weights",
        str(run / "best.safetensors"),
        "--set",
        "holdout=0.3",
        "--set",
        "seed=1",
    ]
    ran = CliRunner().invoke(app, arguments(lines, tmp_path / "second", *more))
    assert (
        "best.safetensors has learned from 2 of the 2 validation images: the AP is optimistic" in ran.output
    )
    assert "best.safetensors held out 2 of the 5 training images for validation" in ran.output
    second = Seen.of(load_info(tmp_path / "second" / "best.safetensors").training)
    assert second.learned >= seen.learned


def images_of(record: frozenset[bytes], folder: Path) -> set[str]:
    """The names of the images in a model's record."""
    prints = fingerprints(sorted(folder.glob("*.png")))
    assert record <= set(prints.values())
    return {path.name for path, each in prints.items() if each in record}


@pytest.mark.parametrize(("before", "after", "moved"), [(30, 34, 1), (36, 33, 0)])
def test_a_resumed_run_does_not_validate_on_images_it_has_seen(
    lines: Path, tmp_path: Path, before: int, after: int, moved: int
) -> None:
    """A new run with 34 images would hold out one that a run with 30 learns from; one with 33, one less."""
    folder, run = lines.parent, tmp_path / "run"
    random, rows = np.random.default_rng(0), []
    for number in range(36):
        write_image(folder / f"c{number}.png", random.integers(0, 256, (64, 96, 3), np.uint8))
        rows.append(f"c{number}.png 8,8,40,40,{number % 3}\n")
    lines.write_text("".join(rows[:before]))
    ran = CliRunner().invoke(app, arguments(lines, run, "--epochs", "1", "--set", "holdout=0.3"))
    assert ran.exit_code == 0, ran.output
    first = Seen.of(load_info(run / "last.safetensors").training)
    learned, held_out = (images_of(each, folder) for each in (first.learned, first.held_out))
    assert len(held_out) == round(0.3 * before)

    ran = CliRunner().invoke(app, arguments(lines, run, "--extend", "1"))
    assert ran.exit_code == 0, ran.output
    assert Seen.of(load_info(run / "last.safetensors").training) == first
    assert "left out of the validation split" not in ran.output

    lines.write_text("".join(rows[:after]))
    ran = CliRunner().invoke(app, arguments(lines, run, "--extend", "1"))
    assert ran.exit_code == 0, ran.output
    second = Seen.of(load_info(run / "last.safetensors").training)
    validated, present = images_of(second.held_out, folder), {f"c{number}.png" for number in range(after)}
    assert not validated & learned
    assert validated >= held_out & present
    assert len(validated) == len(held_out & present) + (round(0.3 * 4) if after > before else 0)
    what = "left out of the validation split: 1 image that the run has learned from"
    assert (what in ran.output) == bool(moved)
    assert "the AP is optimistic" not in ran.output
    assert "training images for validation" not in ran.output


def test_folds_keep_groups_together(lines: Path, tmp_path: Path) -> None:
    more = ["--epochs", "1", "--folds", "3", "--group", r"([0-3])?\.png"]
    ran = CliRunner().invoke(app, arguments(lines, tmp_path / "run", *more))
    assert ran.exit_code == 0, ran.output
    assert "fold 1 of " in ran.output
    assert "mean of " in ran.output
    assert "each evaluated with the model that has not learned from it: AP 0." in ran.output
    assert (tmp_path / "run" / "folds.json").exists()
    settings = (tmp_path / "run" / "fold-1" / "settings.yaml").read_text()
    assert "group: ([0-3])?\\.png" in settings


def test_folds_resume_as_they_started(lines: Path, tmp_path: Path) -> None:
    """The first run is as good as killed in its second fold, whose folder is gone."""
    names, run = str(lines.parent / "things.names"), tmp_path / "run"
    quick = ["--size", "64x96", "--batch", "4", "--epochs", "1", "--set", "workers=1"]
    command = ["train", str(lines), "--names", names, *quick, "--folds", "2", "--out"]
    first = CliRunner().invoke(app, [*command, str(run)])
    assert first.exit_code == 0, first.output
    last = "7 images, each evaluated with the model that has not learned from it: AP 0."
    assert last in first.output
    before = (run / "fold-1" / "last.safetensors").read_bytes()
    shutil.rmtree(run / "fold-2")

    again = CliRunner().invoke(app, [*command, str(run), "--resume"])

    assert again.exit_code == 0, again.output
    assert again.output.count("start: coco: ") == 1  # as in the first run, although it is resumed
    assert last in again.output
    assert (run / "fold-1" / "last.safetensors").read_bytes() == before

    weights = str(run / "fold-1" / "best.safetensors")
    other = CliRunner().invoke(app, [*command, str(tmp_path / "other"), "--weights", weights])
    assert other.exit_code == 0, other.output
    learned = len(Seen.of(load_info(run / "fold-1" / "best.safetensors").training).learned)
    assert f"all started from one that had learned from {learned} of them: AP 0." in other.output

    without_resume = lookonce(*command, run, "--weights", weights)
    assert without_resume.returncode == 2
    assert "fold-1: expected a new folder, found a run: resume it" in without_resume.stderr
    with_other_epochs = lookonce(*command, run, "--resume", "--epochs", "2")
    assert with_other_epochs.returncode == 2
    assert "fold-1/settings.yaml: folds are resumed with the settings they began" in with_other_epochs.stderr
    assert "found epochs: 2 instead of 1" in with_other_epochs.stderr
    with_automatic_batch = lookonce(*command, run, "--resume", "--batch", "auto")
    assert with_automatic_batch.returncode == 2
    assert "expected the batch size that the folds began with, 4; found auto" in with_automatic_batch.stderr
    for begin, found in (
        (["--weights", weights], "best.safetensors"),
        (["--model", "yolov3-tiny"], "random"),
    ):
        begun_otherwise = lookonce(*command, run, "--resume", *begin)
        assert begun_otherwise.returncode == 2
        assert "expected the weights that the folds began with, coco; found " in begun_otherwise.stderr
        assert found in begun_otherwise.stderr
        assert (run / "fold-1" / "last.safetensors").read_bytes() == before

    lines.write_text("".join(lines.read_text().splitlines(keepends=True)[1:]))
    changed = lookonce(*command, run, "--resume")
    assert changed.returncode == 2
    assert "the data or the number of folds changed: expected " in changed.stderr
    assert changed.stderr.count("folds resume only as they started") == 1
    assert (run / "fold-1" / "last.safetensors").read_bytes() == before


def test_the_command_to_resume_folds_has_all_options(
    lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fold that has not begun yet has no settings of its own to read."""

    def stopped(*_: object, **__: object) -> None:
        raise Stopped

    monkeypatch.setattr("lookonce.train.folds.train_folds", stopped)
    out, names = str(tmp_path / "run"), str(lines.parent / "things.names")
    more = ["--model", "yolov3-tiny", "--size", "64x96", "--epochs", "3", "--set", "width=0.5"]
    command = ["train", str(lines), "--out", out, "--folds", "2", *more]
    ran = CliRunner().invoke(app, [*command, "--names", names])
    told = " ".join(ran.output.split()).partition("to resume: lookonce ")[2]
    assert shlex.split(told) == [*command, "--resume", "--names", names]


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--group", "("], "--group: expected folder or a regular expression, found '('"),
        (["--set", "group=("], "group: expected folder or a regular expression, found '('"),
        (["--folds", "3", "--extend", "2"], "--folds: expected neither --extend nor --keep-classes with it"),
        (["--size", "100"], "--size: expected a size like 416 or 320x416 (height x width), multiples of 32"),
        (["--model", "yolov9"], "--model: expected yolov3, "),
        (["--model", "coco"], "or a .cfg, found 'coco'; to start from it: --weights coco"),
        (["--set", "model=yolov9"], "lookonce: --set model: expected yolov3, "),
        (["--set", "color=1"], "color: expected one of model, width, "),
        (["--weights", "nowhere.safetensors"], "nowhere.safetensors: no such file"),
        (["--resume"], "nothing to resume"),
        (["--set", "freeze=9999"], "--set freeze: expected nothing, backbone, a number of layers from 1 to "),
        (["--weights", "nowhere.pt"], "nowhere.pt: no such file"),
        (["--out", __file__], "expected a folder, found a file"),
        (["--self-test", "--folds", "3"], "--self-test: expected none of --weights"),
        (["--self-test", "--resume"], "--self-test: expected none of --weights"),
        (["--weights", "coco", "--resume"], "--weights: expected none with --resume, which continues from"),
        (["--weights", "coco", "--extend", "2"], "--weights: expected none with --extend, which continues"),
        (["--recipe", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    lines: Path, tmp_path: Path, more: list[str], complaint: str
) -> None:
    ran = lookonce(*arguments(lines, tmp_path / "run", *more))
    assert ran.returncode == 2
    assert complaint in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1


def test_a_full_disk_is_one_line_and_loses_no_checkpoint(lines: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk: every write beyond it fails."""
    out = tmp_path / "run"
    assert lookonce(*arguments(lines, out, "--epochs", "1")).returncode == 0
    before = (out / "last.safetensors").read_bytes()
    (out / "settings.yaml").write_text((out / "settings.yaml").read_text().replace("epochs: 1", "epochs: 2"))
    command = [sys.executable, "-m", "lookonce", *arguments(lines, out, "--epochs", "2", "--resume")]

    def full_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, len(before) // 2))

    ran = subprocess.run(command, check=False, capture_output=True, text=True, preexec_fn=full_disk)
    assert ran.returncode == 2, ran.stderr
    assert "Traceback" not in ran.stderr
    assert ".safetensors: cannot be written" in ran.stderr
    assert (out / "last.safetensors").read_bytes() == before
    assert not list(out.glob(".lookonce-*"))


def test_ctrl_c_says_how_to_resume_and_resume_finishes(lines: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "lookonce", *arguments(lines, out, "--epochs", "200")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        give_up = time.monotonic() + 300
        while not (out / "last.safetensors").exists() and time.monotonic() < give_up:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped and saved; to resume: " in output
    load_model(out / "last.safetensors")
    assert not list(out.glob(".lookonce-*"))


def test_a_folder_that_holds_a_run_is_refused_before_data_is_read(lines: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = CliRunner().invoke(app, arguments(lines, run, "--epochs", "1", "--set", "holdout=0"))
    assert "0 of 7 images held out, so the last model counts as the best" in first.output
    lines.unlink()
    again = lookonce(*arguments(lines, run))
    assert again.returncode == 2
    assert "expected a new folder, found a run" in again.stderr


def test_a_resumed_run_keeps_its_length(lines: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert CliRunner().invoke(app, arguments(lines, run, "--epochs", "1")).exit_code == 0
    before = (run / "last.safetensors").read_bytes()
    for more in (["--resume"], ["--extend", "1"]):
        ran = lookonce(*arguments(lines, run, "--epochs", "3", *more))
        assert ran.returncode == 2
        assert "the run has 1 epoch, found 3 asked for: leave --epochs out; --extend N" in ran.stderr
    assert (run / "last.safetensors").read_bytes() == before


def test_classes_are_added_to_a_trained_model(lines: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert CliRunner().invoke(app, arguments(lines, first, "--epochs", "1")).exit_code == 0
    old = first / "best.safetensors"
    (lines.parent / "things.names").write_text("rod\nbar\ncog\n")  # bar is annotated in both
    more = ["--weights", str(old), "--keep-classes", "--epochs", "1"]
    ran = CliRunner().invoke(app, arguments(lines, second, *more))
    assert ran.exit_code == 0, ran.output
    assert "disc, ring are learned from " in ran.output
    assert "; fresh: " not in ran.output
    _, info = load_model(second / "best.safetensors")
    assert info.names == ("disc", "bar", "ring", "rod", "cog")
    ran = CliRunner().invoke(app, arguments(lines, second, "--extend", "1"))
    assert ran.exit_code == 0, ran.output
    third = tmp_path / "third"
    third.mkdir()
    for name in ("taught.json", "old.safetensors"):  # left by a run that was rejected later
        (third / name).write_bytes((second / name).read_bytes())
    assert CliRunner().invoke(app, arguments(lines, third, "--epochs", "1")).exit_code == 0
    ran = CliRunner().invoke(app, arguments(lines, third, "--extend", "1"))
    assert ran.exit_code == 0, ran.output
    refused = CliRunner().invoke(app, arguments(lines, tmp_path / "fourth", "--keep-classes"))
    assert "--keep-classes: expected the model" in str(refused.exception)
    lines.parent.joinpath("things.names").write_text("ring\nbar\ndisc\n")
    refused = CliRunner().invoke(app, arguments(lines, tmp_path / "fourth", *more))
    assert "expected a class that the data lacks, found disc, bar, ring" in str(refused.exception)


def test_images_without_boxes_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "things.names").write_text("disc\n")
    for sample in draw_samples(tmp_path, 2):
        with (tmp_path / "lines.txt").open("a") as lines:
            lines.write(f'"{sample.path.name}"\n')
    ran = lookonce(*arguments(tmp_path / "lines.txt", tmp_path / "run"))
    assert ran.returncode == 2
    assert "expected boxes to train on, found none in 2 training images" in ran.stderr.replace("\n", " ")
    assert not (tmp_path / "run").exists()


def test_help_names_the_defaults() -> None:
    settings = TrainSettings()
    shown = {option.name: getattr(option, "show_default", None) for option in load("train").params}
    height, width = settings.size
    assert height == width
    own_height, own_width = BUILT_IN[START].input_size
    assert own_height == own_width
    defaults = {
        "batch": settings.batch,
        "epochs": settings.epochs,
        "model": f"that of --weights, else {START}",
        "size": f"{own_height}; with --model {height}, or as in the .cfg",
        "weights": f"{START}; with --model, random weights",
    }
    assert {name: shown[name] for name in defaults} == {name: str(value) for name, value in defaults.items()}


def test_a_second_sigterm_leaves_time_to_save() -> None:
    with StopRequest() as asked:
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
        assert asked()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert asked.signal == signal.SIGTERM


@pytest.fixture
def bright_discs(tmp_path: Path) -> Path:
    """Write ten easy images as one-line text: two bright discs on dark noise."""
    rng = np.random.default_rng(5)
    rows = []
    for i in range(10):
        image = rng.integers(0, 60, (96, 128, 3), np.uint8)
        boxes = []
        for x in (32, 96):
            radius, y = int(rng.integers(12, 26)), int(rng.integers(30, 66))
            cv2.circle(image, (x, y), radius, (250, 200, 90), -1)
            boxes.append(f"{x - radius},{y - radius},{x + radius + 1},{y + radius + 1},0")
        write_image(tmp_path / f"{i}.png", image)
        rows.append(" ".join([f"{i}.png", *boxes]))
    (tmp_path / "discs.txt").write_text("\n".join(rows) + "\n")
    (tmp_path / "discs.names").write_text("disc\n")
    return tmp_path / "discs.txt"


def self_test_arguments(lines: Path) -> list[str]:
    settings = ["--size", "96x128", "--set", "width=0.25", "--set", "optimizer.rate=0.004"]
    return ["train", str(lines), "--names", str(lines.with_suffix(".names")), "--self-test", *settings]


def test_self_test_memorizes_sound_images(bright_discs: Path) -> None:
    frozen = ["--set", "freeze=22"]  # all layers but the last: not in a self-test, which begins at random
    ran = CliRunner().invoke(app, self_test_arguments(bright_discs) + frozen)
    assert ran.exit_code == 0, ran.output
    assert "self-test passed" in ran.output


def test_a_slow_machine_does_not_fail_the_self_test(
    bright_discs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lookonce.train.self_test.SECONDS", 0.001)
    monkeypatch.setattr("lookonce.train.self_test.EVALUATE_EVERY", 600)
    ran = CliRunner().invoke(app, self_test_arguments(bright_discs))
    assert ran.exit_code == 0
    assert "self-test out of time, no fault found" in ran.output
    assert "check the boxes" not in ran.output


def test_a_self_test_that_learns_nothing_exits_with_1(
    bright_discs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lookonce.train.self_test.MOST_STEPS", 20)
    ran = CliRunner().invoke(app, [*self_test_arguments(bright_discs), "--set", "optimizer.rate=1e-6"])
    assert ran.exit_code == 1
    assert "self-test failed" in ran.output
    assert "check the boxes" in ran.output


def test_weights_coco_starts_from_the_built_in_network(lines: Path, tmp_path: Path) -> None:
    names = str(lines.parent / "things.names")
    options = ["--names", names, "--set", "workers=0", "--epochs", "1", "--size", "64x96"]
    ran = CliRunner().invoke(
        app, ["train", str(lines), "--out", str(tmp_path / "a"), "--weights", "coco", *options]
    )
    assert ran.exit_code == 0, ran.output
    assert "coco: copied 82 of 84 convolutions; fresh: layers.120, layers.129\n" in ran.output
    _, info = load_model(tmp_path / "a" / "best.safetensors")
    assert (info.architecture, info.names, info.strides) == ("darknet", ("disc", "bar", "ring"), (16, 32))

    # training from a model continues with its network without further options
    start = str(tmp_path / "a" / "best.safetensors")
    ran = CliRunner().invoke(
        app, ["train", str(lines), "--out", str(tmp_path / "b"), "--weights", start, *options]
    )
    assert ran.exit_code == 0, ran.output
    assert "best.safetensors: copied 84 of 84 convolutions\n" in ran.output


def test_weights_keep_network_width_anchors_and_size(lines: Path, tmp_path: Path) -> None:
    names = ["--names", str(lines.parent / "things.names"), "--set", "workers=0", "--epochs", "1"]
    first, second = tmp_path / "a" / "best.safetensors", tmp_path / "b" / "best.safetensors"
    of_network = ["--model", "yolov3-tiny-3l", "--set", "width=0.125", "--size", "64x96"]
    anchors = "anchors=[[[5,6],[7,8],[9,9]],[[10,13],[16,30],[33,23]],[[30,61],[62,45],[59,90]]]"
    train = ["train", str(lines), *names, "--out"]
    ran = CliRunner().invoke(app, [*train, str(first.parent), *of_network, "--set", anchors])
    assert ran.exit_code == 0, ran.output
    ran = CliRunner().invoke(app, [*train, str(second.parent), "--weights", str(first)])
    assert ran.exit_code == 0, ran.output
    before, after = load_model(first)[1], load_model(second)[1]
    assert (after.architecture, after.width, after.anchors) == ("yolov3-tiny-3l", 0.125, before.anchors)
    assert after.input_size == (64, 96)
    assert after.anchors[0] == ((5.0, 6.0), (7.0, 8.0), (9.0, 9.0))
    ran = CliRunner().invoke(app, [*train, str(tmp_path / "c"), "--weights", str(first), "--size", "64"])
    assert "at 64x64" in ran.output
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text("model: yolov3-tiny\nwidth: 0.125\n")
    chosen = ["--weights", str(first), "--recipe", str(recipe), "--size", "64"]
    ran = CliRunner().invoke(app, [*train, str(tmp_path / "d"), *chosen])
    assert ran.exit_code == 0, ran.output
    assert load_model(tmp_path / "d" / "best.safetensors")[1].architecture == "yolov3-tiny"


@pytest.mark.parametrize("more", [["--model", "yolov3"], ["--set", "model=yolov3-tiny"]])
def test_built_in_weights_fix_the_network(lines: Path, tmp_path: Path, more: list[str]) -> None:
    ran = CliRunner().invoke(
        app, ["train", str(lines), "--out", str(tmp_path / "x"), "--weights", "coco", *more]
    )
    assert "--weights coco: fixes the network; expected no --model" in str(ran.exception)


def test_the_size_of_a_cfg_is_used_unless_another_is_given(lines: Path, tmp_path: Path) -> None:
    from lookonce.commands.train_options import Options

    cfg = tmp_path / "x.cfg"
    cfg.write_text(KINDS["tiny"])
    named = {"model": str(cfg), "size": None}
    assert Options(None, (), named).with_network(None).named["size"] == "96x64"
    assert Options(None, ["size=320"], named).with_network(None).named["size"] is None
    assert Options(None, (), named | {"size": "64"}).with_network(None).named["size"] == "64"
    nothing = Options(None, (), {"model": None, "size": None})
    assert nothing.with_network(cfg).named == {"model": str(cfg), "size": "96x64"}
    assert nothing.with_network(None).named == nothing.named
