"""The demo with few images and one epoch: every step runs, and every path that it prints exists."""

import json
import shutil
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from lookonce.commands import demo as command
from lookonce.errors import ConfigError
from lookonce.images import list_images
from tests.command_line import typed

TINY = {"size": 64, "batch": 4, "epochs": 1, "width": 0.125, "anchors": "data", "augment.flip": 0}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """Run a demo; return its folder and output. The model is hardly trained, and so below the goal."""
    out = tmp_path_factory.mktemp("place") / "demo"
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as said:
        patch.setattr(command, "COUNTS", {"train": 8, "val": 2, "test": 3})
        patch.setattr(command, "UNSEEN", 2)
        patch.setattr(command, "TRAINING", TINY)
        assert command.demo(out) == 1
        yield out, said.getvalue()


def test_every_step_runs_and_writes_what_it_names(demo: tuple[Path, str]) -> None:
    out, said = demo
    assert [len(list_images(out / "images" / split)) for split in ("train", "val", "test")] == [8, 2, 3]
    assert len(list_images(out / "unseen")) == len(list_images(out / "found" / "annotated")) == 2
    assert (out / "model.safetensors").read_bytes() == (out / "run" / "best.safetensors").read_bytes()
    assert json.loads((out / "report" / "metrics.json").read_text())["split"] == "test"
    summary = said[said.index("AP50") :]
    assert f"AP50 {json.loads((out / 'report' / 'metrics.json').read_text())['ap50']:.3f} on 3" in said
    assert "something is wrong with this installation" in summary
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


def test_the_commands_it_shows_are_the_ones_it_runs(demo: tuple[Path, str]) -> None:
    out, said = demo
    shown = [line for line in said.splitlines() if line.startswith("$ lookonce ")]
    assert [line.split()[2] for line in shown] == ["train", "evaluate", "detect", "explain"]
    results = [out / "run" / "settings.yaml", out / "report" / "metrics.json"]
    before = [path.read_bytes() for path in results]
    for folder in ("run", "report", "found"):
        shutil.rmtree(out / folder)
    (out / "explained.html").unlink()
    for line in shown:
        assert typed(*line.split()[2:]) == 0, line
    assert [path.read_bytes() for path in results] == before
    assert (out / "explained.html").exists()


def test_a_demo_stopped_in_training_is_resumed(
    demo: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = demo
    drawn = list_images(out / "images" / "train")
    when = [image.stat().st_mtime_ns for image in drawn]
    learned = (out / "run" / "last.safetensors").read_bytes()
    (out / "model.safetensors").unlink()
    for folder in ("report", "found"):
        shutil.rmtree(out / folder)
    monkeypatch.setattr(command, "GOAL", 0.0)

    assert command.demo(out) == 0

    assert [image.stat().st_mtime_ns for image in drawn] == when, "the images are drawn once"
    assert (out / "run" / "last.safetensors").read_bytes() == learned
    assert (out / "model.safetensors").exists()
    assert (out / "report" / "metrics.json").exists()
    with pytest.raises(ConfigError, match="new or empty folder"):
        command.demo(out)


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="new or empty folder"):
        command.demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
