"""The demo with few images and one epoch: every step runs, every place that it names is there."""

import json
import shutil
from pathlib import Path

import pytest

from lookonce.cli import main
from lookonce.commands import demo as command
from lookonce.errors import ConfigError
from lookonce.images import list_images

TINY = {"size": 64, "batch": 4, "epochs": 1, "width": 0.125, "anchors": "data", "augment.flip": 0}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "COUNTS", {"train": 8, "val": 2, "test": 3})
    monkeypatch.setattr(command, "UNSEEN", 2)
    monkeypatch.setattr(command, "TRAINING", TINY)


@pytest.mark.usefixtures("small")
def test_every_step_runs_and_what_it_names_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "GOAL", 0.0)
    out = tmp_path / "demo"

    assert command.demo(out) == 0

    said = capsys.readouterr().out
    assert [len(list_images(out / "images" / split)) for split in ("train", "val", "test")] == [8, 2, 3]
    assert len(list_images(out / "unseen")) == len(list_images(out / "found" / "annotated")) == 2
    assert (out / "model.safetensors").read_bytes() == (out / "run" / "best.safetensors").read_bytes()
    assert json.loads((out / "report" / "metrics.json").read_text())["split"] == "test"
    summary = said[said.index("AP50") :]
    assert f"AP50 {json.loads((out / 'report' / 'metrics.json').read_text())['ap50']:.3f} on 3" in said
    for place in (
        "found/annotated",
        "report/report.html",
        "model.safetensors",
        "run/epochs.csv",
        "explained.html",
    ):
        assert str(out / place) in summary
        assert (out / place).exists()
    page = (out / "explained.html").read_text()
    for stage in ("assignment", "losses", "verdicts"):
        assert f'<section class="stage" id="{stage}"' in page, "the explained image has its ground truth"


@pytest.mark.usefixtures("small")
def test_the_commands_it_shows_are_the_ones_it_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "demo"
    assert command.demo(out) == 1, "an untrained model is below the goal"
    shown = [line for line in capsys.readouterr().out.splitlines() if line.startswith("$ lookonce ")]
    assert [line.split()[2] for line in shown] == ["train", "evaluate", "detect", "explain"]
    results = [out / "run" / "settings.yaml", out / "report" / "metrics.json"]
    before = [path.read_bytes() for path in results]
    for folder in ("run", "report", "found"):
        shutil.rmtree(out / folder)
    (out / "explained.html").unlink()
    for line in shown:
        monkeypatch.setattr("sys.argv", line[2:].split())
        with pytest.raises(SystemExit) as left:
            main()
        assert left.value.code == 0, line
    assert [path.read_bytes() for path in results] == before
    assert (out / "explained.html").exists()


@pytest.mark.usefixtures("small")
def test_a_demo_stopped_in_training_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    assert command.demo(out) == 1
    drawn = list_images(out / "images" / "train")
    when = [image.stat().st_mtime_ns for image in drawn]
    learnt = (out / "run" / "last.safetensors").read_bytes()
    (out / "model.safetensors").unlink()
    for folder in ("report", "found"):
        shutil.rmtree(out / folder)

    assert command.demo(out) == 1

    assert [image.stat().st_mtime_ns for image in drawn] == when, "the images are drawn once"
    assert (out / "run" / "last.safetensors").read_bytes() == learnt
    assert (out / "model.safetensors").exists()
    assert (out / "report" / "metrics.json").exists()
    with pytest.raises(ConfigError, match="new or empty folder"):
        command.demo(out)


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="new or empty folder"):
        command.demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
