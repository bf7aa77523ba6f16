"""The commands train, evaluate and export as functions: `lookonce.train(...)`."""

import inspect
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lookonce
from lookonce.annotations import write_samples
from lookonce.commands.evaluate import evaluate
from lookonce.commands.export import ExportTarget, export
from lookonce.commands.results import Evaluated, Exported, Trained
from lookonce.commands.train import train
from lookonce.errors import ConfigError, LookonceError
from lookonce.images import read_image, write_image
from lookonce.samples import SampleSet
from tests.command_line import typed
from tests.data.drawn_samples import INFO, draw_samples


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    drawn = draw_samples(tmp_path / "drawn", 6)
    splits = {"train": drawn[:4], "val": drawn[4:]}
    sets = {name: SampleSet(INFO.names, samples, [], "drawn") for name, samples in splits.items()}
    write_samples(sets, "coco", tmp_path / "my-images")
    return "my-images"


def test_train_evaluate_export_and_detect_work_together(
    data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = lookonce.train(data, out="run", size=(64, 96), epochs=1, batch=2, assignments={"width": 0.125})
    assert isinstance(trained, Trained)
    assert (trained.folder, trained.epochs, trained.exit_code) == (Path("run"), 1, 0)
    assert trained.model is not None
    assert trained.ap >= 0 or math.isnan(trained.ap)
    assert "best model: run/best.safetensors" in capsys.readouterr().out

    measured = lookonce.evaluate(trained.model, data, out="report", explain=0)
    assert isinstance(measured, Evaluated)
    assert 0 <= measured.metrics.ap <= measured.metrics.ap50 <= 1
    assert [each.name for each in measured.metrics.classes] == list(INFO.names)
    assert (measured.folder / "metrics.json").is_file()

    made = lookonce.export("run/best.safetensors", to="onnx", out=Path("made.onnx"))
    assert isinstance(made, Exported)
    assert (made.path, made.exit_code) == (Path("made.onnx"), 0)
    assert made.proof is not None
    assert made.proof.boxes < 0.1
    with lookonce.Detector.open(made.path) as detector:
        assert detector.names == INFO.names
        assert detector.size == (64, 96)

    Path("run").rename("coco")  # name of the built-in network, which has 80 classes
    made = lookonce.export("./coco", to="onnx", out=Path("own.onnx"))
    with lookonce.Detector.open(made.path) as detector:
        assert detector.names == INFO.names


def test_wrong_parameters_raise_as_for_any_function(data: str) -> None:
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'epoch'"):
        lookonce.train(data, epoch=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="missing a required argument: 'data'"):
        lookonce.train()  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="size"):
        lookonce.train(data, size=100)
    with pytest.raises(ValueError, match="'onxx' is not a valid ExportTarget"):
        lookonce.export("coco", to="onxx")
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("verb", "values", "message"),
    [
        ("train", {"data": 1}, "data: expected a path, found 1"),
        ("train", {"data": True}, "data: expected a path, found True"),
        ("train", {"data": ""}, "data: expected a path, found ''"),
        ("train", {"out": "a\0b"}, "out: expected a path, found 'a"),
        ("train", {"data": None}, "data: expected a value, found None"),
        ("train", {"out": b"run"}, "out: expected a path, found b'run'"),
        ("train", {"minutes": "5"}, "minutes: expected a number, found '5'"),
        ("train", {"epochs": 1.5}, "epochs: expected a whole number, found 1.5"),
        ("train", {"epochs": True}, "epochs: expected a whole number, found True"),
        ("train", {"resume": "no"}, "resume: expected True or False, found 'no'"),
        ("train", {"size": {1}}, "size: expected text, numbers or a mapping, found {1}"),
        ("train", {"assignments": [1]}, r"assignments: expected a list of text, found \[1\]"),
        ("train", {"assignments": "width=1"}, "assignments: expected a list of text, found 'width=1'"),
        ("evaluate", {"model": "coco", "data": ["a"]}, r"data: expected a path, found \['a'\]"),
        ("evaluate", {"model": "coco", "conf": "high"}, "conf: expected a number, found 'high'"),
        ("export", {"model": "coco", "to": "onnx", "size": lambda: 0}, "size: expected text"),
        ("export", {"model": object(), "to": "onnx"}, "model: expected a path, found <object"),
    ],
)
def test_a_value_of_another_type_is_named(data: str, verb: str, values: dict[str, Any], message: str) -> None:
    given = values if verb == "export" else {"data": data} | values
    before = sorted(Path().iterdir())
    with pytest.raises(TypeError, match=message):
        getattr(lookonce, verb)(**given)
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize(
    ("verb", "values", "message"),
    [
        ("train", {"patience": -1}, "patience: expected a number from 0 to inf, found -1"),
        ("train", {"folds": 1}, "folds: expected a number from 2 to inf, found 1"),
        ("train", {"epochs": 10**9}, "epochs: expected less than or equal to 1000000, found 1000000000"),
        ("train", {"size": 8192}, "size: expected sides of at most 8192 and 8,388,608 pixels, found '8192'"),
        ("export", {"model": "coco", "to": "onnx", "max_drop": 2}, "max_drop: expected a number from 0 to 1"),
        ("export", {"model": "coco", "to": "onnx", "max_drop": math.nan}, "found nan"),
    ],
)
def test_a_number_out_of_its_range_is_named(
    data: str, verb: str, values: dict[str, Any], message: str
) -> None:
    """The limits of the command line also apply to calls from Python."""
    given = values if verb == "export" else {"data": data} | values
    with pytest.raises(ConfigError, match=message):
        getattr(lookonce, verb)(**given)
    assert not Path("runs").exists()


def test_a_missing_file_is_named_as_its_caller_names_it(
    data: str, small_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a parameter in Python, and as an option on the command line."""
    Path("lines.txt").write_text("drawn/a.png 1,2,3,4,0\n")
    Path("elsewhere/labels").mkdir(parents=True)
    Path("elsewhere/labels/a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    Path("elsewhere/classes.txt").write_text("disc\n")
    sample = read_image(next(Path("drawn").glob("*.png")))
    write_image(Path("drawn/a.png"), sample)
    Path("elsewhere/boxes.txt").write_text("gone.png 1,2,3,4,0\n")
    shutil.copy(small_model, "net.cfg")
    for name in ("one", "two"):
        shutil.copy(small_model.with_suffix(".weights"), f"{name}.weights")
    cases: list[tuple[Callable[[str], Any], str, str]] = [
        (lookonce.train, "train lines.txt", "names: expected the file of the class names for lines.txt: its"),
        (
            lookonce.train,
            "train elsewhere",
            "images: expected the folder of the images for elsewhere: 1 label",
        ),
        (lookonce.train, "train elsewhere/boxes.txt", "images: expected the folder of the images for elsew"),
        (lookonce.Detector.open, "detect net.cfg drawn", "weights: expected the file for net.cfg, since it "),
    ]
    for function, words, message in cases:
        with pytest.raises(LookonceError) as raised:
            function(words.split()[1])
        assert str(raised.value).startswith(message)
        capsys.readouterr()
        assert typed(*words.split()) == 2
        assert capsys.readouterr().err.splitlines()[-1].startswith(f"lookonce: --{message}")


@pytest.mark.parametrize(("verb", "command"), [("train", train), ("evaluate", evaluate), ("export", export)])
def test_signatures_are_those_of_the_commands(verb: str, command: Callable[..., Any]) -> None:
    assert inspect.signature(getattr(lookonce, verb)) == inspect.signature(command)


def test_values_arrive_as_the_command_line_gives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["lookonce.commands.export"]

    def spy(**values: Any) -> dict[str, Any]:
        return values

    spy.__signature__ = inspect.signature(export)  # type: ignore[attr-defined]
    monkeypatch.setattr(module, "export", spy)
    found = lookonce.export(
        "coco",
        to="onnx",
        size=320,
        calibrate="images",
        fit=None,
        nms=True,
        conf={"dog": 0.5, "cat": 0.2},
        names="a.txt",
    )
    assert found == {
        "model": lookonce.networks.model_path("coco"),
        "to": ExportTarget.ONNX,
        "size": "320",
        "calibrate": Path("images"),
        "fit": None,
        "nms": True,
        "conf": "dog=0.5,cat=0.2",
        "names": Path("a.txt"),
    }


@pytest.mark.parametrize("order", ["import lookonce.export.files, lookonce", "import lookonce"])
def test_export_is_both_package_and_function(order: str) -> None:
    code = f"""
{order}
from lookonce import export
assert callable(export) and callable(lookonce.export)
import lookonce.export.verify as verify
assert lookonce.export.verify is verify and lookonce.export is export and callable(lookonce.export)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
