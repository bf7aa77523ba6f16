"""No command opens a connection by itself; system calls are traced, so native code is covered too.

The telemetry of ONNX Runtime, OpenVINO and NNCF is on by default. It stays off if it recognizes a CI machine
or pytest, so each command runs in a process that shows neither, with an empty home folder, because telemetry
writes there (a queue, a device number) before it sends anything.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from lookonce.cli import DATA_VERBS, VERBS
from lookonce.export.files import write_onnx
from lookonce.export.graph import export_graph
from lookonce.export.source import read_source
from lookonce.images import write_image
from tests.export.models import INFO, write_model
from tests.tiny_onnx import write_tiny_model

QUIETING = re.compile(r"CI|CONTINUOUS_INTEGRATION|BUILD_ID|TF_BUILD|GITHUB_.*|GITLAB_.*|TRAVIS|JENKINS_.*"
                      r"|TEAMCITY_.*|PYTEST_.*|NNCF_.*|ORT_.*")  # fmt: skip
CONTROL = """
import onnxruntime, sys, time
onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
time.sleep(2)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a model and four annotated images."""
    folder = tmp_path_factory.mktemp("connections")
    write_model(folder / "mine.safetensors")
    rng = np.random.default_rng(0)
    height, width = INFO.input_size
    images, rows = [], []
    for number in range(4):
        write_image(folder / f"{number}.png", rng.integers(0, 256, (height, width, 3), np.uint8))
        images.append({"id": number, "file_name": f"{number}.png", "width": width, "height": height})
        box = [5, 5, width // 2, height // 2]
        rows.append({"id": number + 1, "image_id": number, "category_id": 0, "bbox": box, "iscrowd": 0})
    categories = [{"id": number, "name": name} for number, name in enumerate(INFO.names)]
    for split in ("train", "val"):
        annotations = {"images": images, "annotations": rows, "categories": categories}
        (folder / f"{split}.json").write_text(json.dumps(annotations))
    (folder / "data.yaml").write_text(f"names: [{', '.join(INFO.names)}]\ntrain: train.json\nval: val.json\n")
    return folder


def traced(folder: Path, home: Path, *program: str) -> tuple[list[str], list[str]]:
    """Return the internet addresses used by a program and its children, and the files in its home folder."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    home.mkdir()
    environment = {key: value for key, value in os.environ.items() if not QUIETING.fullmatch(key)}
    log = home.with_suffix(".log")
    # --seccomp-bpf: only traced system calls stop a process
    trace = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-e",
        "trace=connect,sendto,sendmsg,sendmmsg",
        "-o",
        str(log),
    ]
    done = subprocess.run(
        [*trace, sys.executable, *program],
        cwd=folder,
        env=environment | {"HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if "ptrace" in done.stderr:
        pytest.skip(f"strace is not allowed here: {done.stderr[:100]}")
    # 1: the random images have problems
    assert done.returncode in (0, 1), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    internet = [line for line in log.read_text(errors="replace").splitlines() if "AF_INET" in line]
    return internet, sorted(str(file.relative_to(home)) for file in home.rglob("*") if file.is_file())


COMMANDS = [
    "detect mine.safetensors 0.png --out detect",
    "evaluate mine.safetensors data.yaml --out evaluate",
    "train data.yaml --out train --size 64 --epochs 1 --batch 2 --set width=0.25",
    "export mine.safetensors --to onnx --out onnx",
    "export mine.safetensors --to openvino --out openvino",
    *(["export mine.safetensors --to ncnn --out ncnn"] if find_spec("ncnn") else []),
    "export mine.safetensors --to onnx --int8 --calibrate data.yaml --max-drop 1 --out int8",
    "export mine.safetensors --to openvino --int8 --calibrate data.yaml --max-drop 1 --out int8",
]
FURTHER = [
    "compare exported.onnx mine.safetensors data.yaml",
    "explain mine.safetensors 0.png --out explained.html",
    "rename exported.onnx cat=lion --out renamed.onnx",
    "data next exported.onnx . --count 2 --out next",
    "bench mine.safetensors --rounds 1",
    "tune exported.onnx --data data.yaml --rounds 1 --max-drop 1",
    "advise data.yaml",
    "slim mine.safetensors --data data.yaml --epochs 1 --out slim --max-drop 1",
    "data check data.yaml --out checked",
    "data stats data.yaml",
    "data anchors data.yaml",
    "data convert data.yaml --to yolo --out converted",
    "models",
    "recipes",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_connects_or_queues_a_report(folder: Path, tmp_path: Path, command: str) -> None:
    check_quiet(folder, tmp_path / "home", command)


@pytest.mark.slow
@pytest.mark.parametrize("command", FURTHER)
def test_no_other_command_connects_or_queues_a_report(folder: Path, tmp_path: Path, command: str) -> None:
    write_onnx(export_graph(read_source(folder / "mine.safetensors")), folder / "exported.onnx")
    check_quiet(folder, tmp_path / "home", command)


def test_every_command_is_traced() -> None:
    """All are, except `fetch`, whose purpose is to connect, and `demo`, which calls other commands."""
    words = {command.split()[0] for command in COMMANDS + FURTHER}
    assert words == VERBS.keys() - {"fetch", "demo"}
    assert {command.split()[1] for command in FURTHER if command.startswith("data ")} == DATA_VERBS.keys()


def check_quiet(folder: Path, home: Path, command: str) -> None:
    """Run a command, and check that there is no connection and no telemetry."""
    internet, left = traced(folder, home, "-m", "lookonce", *command.split())
    assert internet == []
    reports = [file for file in left if re.search("(?i)microsoft|onnxruntime|intel|telemetry|deviceid", file)]
    assert reports == []


def test_detecting_reports_nothing_while_a_bare_engine_would(folder: Path, tmp_path: Path) -> None:
    exported = write_tiny_model(folder / "exported.onnx")
    detect = "import lookonce, sys, time; lookonce.Detector.open(sys.argv[1]); time.sleep(2)"

    assert traced(folder, tmp_path / "ours", "-c", detect, str(exported)) == ([], [])
    internet, left = traced(folder, tmp_path / "bare", "-c", CONTROL, str(exported))
    if not (internet or left):
        pytest.skip("this ONNX Runtime reports nothing, so the test above could not fail")


def test_the_runtime_is_imported_in_one_place() -> None:
    sources = Path(__file__).parents[1] / "src" / "lookonce"
    importing = [
        file.name
        for file in sources.rglob("*.py")
        if re.search(r"^\s*(import onnxruntime|from onnxruntime import)", file.read_text(), re.MULTILINE)
    ]
    assert importing == ["_onnxruntime.py"]
