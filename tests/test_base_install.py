"""Without torch, every command works, or prints one line with the package to install; also from Python."""

import json
import os
import subprocess
import sys

import pytest
import torch

from lookonce.cli import DATA_VERBS, VERBS
from lookonce.images import write_image
from lookonce.model.files import save_model
from lookonce.model.network import build
from tests.data.drawn_samples import INFO
from tests.tiny_onnx import YELLOW, image, write_tiny_model

# Runs each command line of the list in one process without torch, and prints exit codes and errors.
TORCHLESS = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
sys.modules["torch"] = None
from lookonce.cli import main
done = []
for line in json.loads(sys.argv[1]):
    sys.argv = ["lookonce", *line.split()]
    code, errors = 0, io.StringIO()
    with redirect_stderr(errors), redirect_stdout(io.StringIO()):
        try:
            main()
        except SystemExit as left:
            code = left.code or 0
    done.append((code, errors.getvalue()))
print(json.dumps(done))
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


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """Run each command line without torch, on models that need torch or not, and an annotated image."""
    desk = tmp_path_factory.mktemp("desk")
    torch.manual_seed(0)
    network = build(INFO)
    save_model(desk / "model.safetensors", network.state_dict(), INFO)
    write_tiny_model(desk / "model.onnx")
    write_image(desk / "photo.png", image((96, 96), ((32, 32, 64, 64), YELLOW)))
    (desk / "lines.txt").write_text("photo.png 32,32,64,64,0\n")
    (desk / "names.txt").write_text("green\nblue\n")
    lines = [*REFUSED, *DONE, *(f"{command} --help" for command in COMMANDS)]
    ran = subprocess.run(
        [sys.executable, "-c", TORCHLESS, json.dumps(lines)],
        cwd=desk,
        env=os.environ | {"LOOKONCE_CACHE": str(desk / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return dict(zip(lines, map(tuple, json.loads(ran.stdout)), strict=True))


@pytest.mark.parametrize("line", REFUSED)
def test_commands_that_need_torch_say_so_in_one_line(line: str, done: dict[str, tuple[int, str]]) -> None:
    code, errors = done[line]
    assert code == 2
    assert errors.splitlines()[-1].startswith("lookonce: this needs the package 'torch': pip install ")


@pytest.mark.parametrize("line", DONE)
def test_other_commands_work_without_torch(line: str, done: dict[str, tuple[int, str]]) -> None:
    code, errors = done[line]
    assert code in (0, 1), errors
    assert "torch" not in errors


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_its_help(command: str, done: dict[str, tuple[int, str]]) -> None:
    assert done[f"{command} --help"] == (0, "")


@pytest.mark.parametrize("module", ["model.darknet_io", "model.files", "export.verify"])
def test_python_names_what_to_install(module: str) -> None:
    code = f"import sys\nsys.modules['torch'] = None\nimport lookonce.{module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if module == "export.verify":  # needs torch later, only for a .safetensors
        assert done.returncode == 0
        return
    last = done.stderr.splitlines()[-1]
    assert last.startswith("lookonce.errors.MissingExtraError: this needs the package 'torch': pip install")
