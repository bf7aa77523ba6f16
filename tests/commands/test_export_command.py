import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from lookonce.cli import app, main
from lookonce.darknet.files import open_darknet
from lookonce.darknet.weights import write_weights
from lookonce.errors import ModelFileError
from lookonce.metadata import ModelInfo
from lookonce.model.darknet_io import largest_difference, load_darknet
from lookonce.model.files import save_model
from lookonce.model.network import build

INFO = ModelInfo(
    "yolov3-tiny",
    names=("cat", "dog"),
    anchors=(((10.0, 13.0), (16.0, 30.0)), ((62.0, 45.0), (59.0, 119.0))),
    strides=(16, 32),
    input_size=(64, 96),
    width=0.25,
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_model(tmp_path / "mine.safetensors", build(INFO).state_dict(), INFO)
    return tmp_path / "mine.safetensors"


def test_darknet_files_are_written_and_proved(model: Path, tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["export", str(model), "--to", "darknet", "--out", str(tmp_path / "out")])

    assert found.exit_code == 0
    assert f"yolov3-tiny, 2 classes, written as {tmp_path}/out/mine.cfg, .weights and .names" in found.stdout
    assert "the raw maps differ by at most" in found.stdout
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "mine.cfg",
        "mine.names",
        "mine.weights",
    ]
    assert load_darknet(tmp_path / "out" / "mine.cfg")[1] == replace(INFO, bn_epsilon=1e-6)


def test_the_proof_can_fail(model: Path, tmp_path: Path) -> None:
    CliRunner().invoke(app, ["export", str(model), "--to", "darknet", "--out", str(tmp_path)])
    cfg = tmp_path / "mine.cfg"
    network, _ = load_darknet(cfg)
    weights = open_darknet(cfg).read_weights()
    weights[-1].bias[0] += 1
    write_weights(cfg.with_suffix(".weights"), weights)

    with pytest.raises(ModelFileError, match="expected the maps of the model it was written from"):
        largest_difference(cfg, network)


def test_a_folder_that_cannot_be_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("a file")
    arguments = ["lookonce", "export", str(model), "--to", "darknet", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", arguments)

    with pytest.raises(SystemExit) as stopped:
        main()

    assert stopped.value.code == 2
    assert "out: the model cannot be written: " in capsys.readouterr().err


def test_an_unknown_target_lists_what_there_is(model: Path) -> None:
    found = CliRunner().invoke(app, ["export", str(model), "--to", "caffe"], env={"COLUMNS": "100"})

    assert found.exit_code == 2
    assert "darknet" in found.stderr
