import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lookonce.bench.measure import Result
from lookonce.cli import app
from lookonce.commands import bench as command
from tests.command_line import lookonce


def test_tables_json_and_plot_are_written(small_model: Path, tmp_path: Path) -> None:
    words = ["bench", small_model, "--against", "onnxruntime", "--batch", "1,2", "--threads", "1"]

    ran = lookonce(*words, "--rounds", "2", "--out", tmp_path / "out")

    assert (ran.returncode, ran.stderr) == (0, "")
    assert "64x96, batch 1, 1 thread\n" in ran.stdout
    assert "64x96, batch 2, 1 thread\n" in ran.stdout
    numbers = json.loads((tmp_path / "out" / "bench.json").read_text())
    assert [(row["label"], row["batch"]) for row in numbers["results"]] == [
        ("lookonce", 1),
        ("onnxruntime", 1),
        ("lookonce", 2),
        ("onnxruntime", 2),
    ]
    assert all(len(row["turns_ms"]) == 2 for row in numbers["results"])
    assert (tmp_path / "out" / "bench.png").stat().st_size > 5000


def test_json_goes_to_standard_output(small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "measure", lambda entries, case, **_: [Result("one", case, ((5.0,),))])

    ran = lookonce("bench", small_model, "--against", "onnxruntime", "--rounds", "1", "--json", "-")

    assert json.loads(ran.stdout)["model"] == str(small_model)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--against", "tensorrt"], "expected some of lookonce, "),
        (["--batch", "0"], "--batch: expected numbers from 1 to 1,024, such as 1,8, found '0'"),
        (["--threads", "x"], "--threads: expected numbers"),
        (["--size", "100"], "multiples of 32"),
    ],
)
def test_wrong_options_are_refused_before_measuring(
    small_model: Path, options: list[str], complaint: str
) -> None:
    found = CliRunner().invoke(app, ["bench", str(small_model), *options])

    assert complaint in str(found.exception)
