"""`lookonce slim` as a user types it."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lookonce._interrupts import StopRequest
from lookonce.cli import app
from lookonce.metadata import DARKNET
from lookonce.model.files import load_info, load_model
from tests.commands.test_train import lines as lines

QUICK = ["--set", "batch=3", "--set", "workers=1", "--epochs", "1"]


@pytest.fixture
def parent(lines: Path, tmp_path: Path) -> Path:
    run = ["train", str(lines), "--names", str(lines.parent / "things.names"), "--size", "64x96"]
    ran = CliRunner().invoke(app, [*run, "--set", "width=0.25", *QUICK, "--out", str(tmp_path / "parent")])
    assert ran.exit_code == 0, ran.output
    return tmp_path / "parent"


def slim(parent: Path, lines: Path, out: Path, *more: str) -> list[str]:
    data = ["--data", str(lines), "--names", str(lines.parent / "things.names")]
    return ["slim", str(parent), *data, "--out", str(out), "--faster", "1.3", *QUICK, *more]


def test_a_slim_model_works_with_every_command(parent: Path, lines: Path, tmp_path: Path) -> None:
    out = tmp_path / "slim"
    report = tmp_path / "slim.json"
    ran = CliRunner().invoke(app, slim(parent, lines, out, "--max-drop", "1", "--json", str(report)))
    assert ran.exit_code == 0, ran.output
    assert f"slim model: {out / 'best.safetensors'}" in ran.output.replace("\n", "")
    found = json.loads(report.read_text())
    assert found["parameters"][1] < found["parameters"][0]
    assert found["multiplications"] < 0.9
    warned = "the model finds nothing in these images, so they cannot show a loss of AP"
    assert (warned in " ".join(ran.output.split())) == (found["ap"][0] == 0)
    network, info = load_model(out / "best.safetensors")
    assert info.architecture == DARKNET
    assert info.names == ("disc", "bar", "ring")
    assert sum(each.numel() for each in network.parameters()) < found["parameters"][1]
    for form in ("onnx", "darknet"):
        command = ["export", str(out), "--to", form, "--out", str(tmp_path / form)]
        ran = CliRunner().invoke(app, command)
        assert ran.exit_code == 0, ran.output


def test_a_model_that_lost_too_much_is_rejected(
    parent: Path, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lookonce.gate.Comparison.drop", 0.5)
    out = tmp_path / "slim"
    ran = CliRunner().invoke(app, slim(parent, lines, out, "--faster", "20"))
    assert ran.exit_code == 1, ran.output
    assert "--faster 20 was not reached: this is the fastest network tried" in " ".join(ran.output.split())
    assert "rejected: AP drops by 0.500, expected at most 0.01" in ran.output
    assert not (out / "best.safetensors").exists()
    assert load_info(out / "best.rejected.safetensors").names == ("disc", "bar", "ring")

    again = slim(parent, lines, out, "--faster", "20", "--resume", "--max-drop", "1")
    notes = tmp_path / "notes.json"
    notes.write_text("mine")
    for more, said in (
        (["--set", "optimizer.rate=0.5"], "a resumed run keeps its settings"),
        (["--json", str(notes)], "exists and was not written by lookonce slim; --force replaces it"),
    ):
        ran = CliRunner().invoke(app, [*again, *more])
        assert said in str(ran.exception)
        assert (out / "best.rejected.safetensors").exists()
        assert not (out / "best.safetensors").exists()
        assert notes.read_text() == "mine"

    ran = CliRunner().invoke(app, again)
    assert ran.exit_code == 0, ran.output
    assert (out / "best.safetensors").exists()
    assert not (out / "best.rejected.safetensors").exists()

    # as if a rejected run had been resumed and had found a better epoch
    shutil.copy(out / "best.safetensors", out / "best.rejected.safetensors")
    ran = CliRunner().invoke(app, again)
    assert ran.exit_code == 0, ran.output
    assert (out / "best.safetensors").exists()
    assert not (out / "best.rejected.safetensors").exists()


def test_wrong_input_is_one_line(parent: Path, lines: Path, tmp_path: Path) -> None:
    for more, said in (
        (["--faster", "0.5"], "--faster: expected a number above 1, at most 20, found 0.5"),
        (["--faster", "20", "--resume"], "nothing to resume"),
        (["--set", "size=416"], "--set size: fixed by "),
    ):
        ran = CliRunner().invoke(app, slim(parent, lines, tmp_path / "slim", *more))
        assert ran.exit_code != 0
        assert said in str(ran.exception)
    for missing in (tmp_path / "none.safetensors", tmp_path / "runs"):
        ran = CliRunner().invoke(app, slim(missing, lines, tmp_path / "slim"))
        assert f"{missing}: no such file" in str(ran.exception)
    other = tmp_path / "model.onnx"
    other.write_bytes(b"")
    ran = CliRunner().invoke(app, slim(other, lines, tmp_path / "slim"))
    assert "expected a model that can be trained (.safetensors, .cfg), found suffix '.onnx'" in str(
        ran.exception
    )


def test_ctrl_c_before_training_leaves_nothing(
    parent: Path, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StopRequest, "__call__", lambda _: True)
    ran = CliRunner().invoke(app, slim(parent, lines, tmp_path / "slim"))
    assert ran.exit_code == 130 or isinstance(ran.exception, KeyboardInterrupt)
    assert not (tmp_path / "slim").exists()


def test_a_stopped_run_is_resumed(
    parent: Path, lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, asked = tmp_path / "slim run", iter([False] * 3 + [True] * 100)
    with monkeypatch.context() as patch:
        patch.setattr(StopRequest, "__call__", lambda _: next(asked))
        ran = CliRunner().invoke(app, slim(parent, lines, out, "--max-drop", "0.5"))
    assert ran.exit_code > 128, ran.output
    told = " ".join(ran.output.split()).partition("to resume: lookonce ")[2]
    again = shlex.split(told)
    names = str(lines.parent / "things.names")
    assert again[:2] == ["slim", str(parent / "best.safetensors")]
    assert again[2:] == [
        "--data", str(lines), "--out", str(out), "--max-drop", "0.5", "--resume", "--names", names
    ]  # fmt: skip
    ran = CliRunner().invoke(app, slim(parent, lines, out, "--resume", "--faster", "3"))
    assert "--faster: expected 1.3, with which the run began, found 3" in str(ran.exception)
    ran = CliRunner().invoke(app, slim(parent, lines, out, "--resume", "--max-drop", "1"))
    assert ran.exit_code == 0, ran.output
    assert (out / "best.safetensors").exists()
