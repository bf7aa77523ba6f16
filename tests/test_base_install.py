"""Without torch every command works, or says in one line what to install; from Python too."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lookonce.cli import DATA_VERBS, VERBS
from lookonce.images import write_image
from lookonce.model.files import save_model
from lookonce.model.network import build
from tests.data.drawn_samples import INFO
from tests.tiny_onnx import YELLOW, image, write_tiny_model

TORCHLESS = """
import sys
sys.modules["torch"] = None
from lookonce.cli import main
main()
"""
COMMANDS = [*(verb for verb in VERBS if verb != "data"), *(f"data {verb}" for verb in DATA_VERBS)]
REFUSED = [
    "train lines.txt --names names.txt",
    "train lines.txt --names names.txt --self-test",
    "slim model.safetensors --data lines.txt --names names.txt",
    "demo --out new",
    "detect model.safetensors photo.png",
    "evaluate model.safetensors lines.txt --names names.txt",
    "explain model.safetensors photo.png",
    "export model.safetensors --to onnx",
    "export model.safetensors --to darknet",
    "bench model.safetensors",
    "tune model.safetensors --data lines.txt --names names.txt",
    "data check lines.txt --names names.txt --detector model.safetensors",
    "data next model.safetensors photo.png",
]
DONE = [
    "detect model.onnx photo.png",
    "evaluate model.onnx lines.txt --names names.txt --explain 0",
    "explain coco photo.png",
    "export coco --to onnx",
    "data check lines.txt --names names.txt --detector model.onnx",
    "data next coco photo.png --count 1",
    "data stats lines.txt --names names.txt",
    "models",
    "recipes",
]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model that needs torch, one that does not, and an annotated image."""
    torch.manual_seed(0)
    network = build(INFO)
    save_model(tmp_path / "model.safetensors", network.state_dict(), INFO)
    write_tiny_model(tmp_path / "model.onnx")
    write_image(tmp_path / "photo.png", image((96, 96), ((32, 32, 64, 64), YELLOW)))
    (tmp_path / "lines.txt").write_text("photo.png 32,32,64,64,0\n")
    (tmp_path / "names.txt").write_text("green\nblue\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "cache"))
    return tmp_path


def run(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", TORCHLESS, *line.split()], capture_output=True, text=True)


@pytest.mark.parametrize("line", REFUSED)
@pytest.mark.usefixtures("desk")
def test_what_needs_torch_says_so_in_one_line(line: str) -> None:
    done = run(line)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("lookonce: this needs the package 'torch': pip install ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("line", DONE)
@pytest.mark.usefixtures("desk")
def test_what_needs_no_torch_works(line: str) -> None:
    done = run(line)
    assert done.returncode in (0, 1), done.stderr
    assert "torch" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_its_help(command: str) -> None:
    done = run(f"{command} --help")
    assert done.returncode == 0
    assert done.stderr == ""


@pytest.mark.parametrize("module", ["model.darknet_io", "model.files", "export.verify"])
def test_python_names_what_to_install(module: str) -> None:
    code = f"import sys\nsys.modules['torch'] = None\nimport lookonce.{module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if module == "export.verify":  # needs torch later, for a .safetensors alone
        assert done.returncode == 0
        return
    last = done.stderr.splitlines()[-1]
    assert last.startswith("lookonce.errors.MissingExtraError: this needs the package 'torch': pip install")
