"""The network in the package: its files, their contents, and the meaning of its name."""

import hashlib
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from lookonce import Detector
from lookonce.darknet.fetch import COCO_NAMES
from lookonce.explain import Explainer
from lookonce.networks import BUILT_IN, BUILT_IN_FOLDER, model_name, model_path

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_record_matches_the_files(name: str) -> None:
    known, cfg = BUILT_IN[name], model_path(name)
    weights = cfg.with_suffix(".weights").read_bytes()
    card = (BUILT_IN_FOLDER / "README.md").read_text(encoding="utf-8")

    assert (len(weights), hashlib.sha256(weights).hexdigest()) == (known.size, known.sha256)
    assert cfg.with_suffix(".names").read_text().split("\n")[:80] == list(COCO_NAMES)
    assert "public domain" in (BUILT_IN_FOLDER / "LICENSE").read_text()
    for fact in (known.network, known.origin, known.sha256, str(known.ap50)):
        assert fact in card
    assert f"{known.milliseconds:.1f}" in (ROOT / "benchmarks/builtin.md").read_text()


def test_coco_finds_the_dog(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path))
    known = BUILT_IN["coco"]
    with Detector.open("coco") as detector:
        assert (detector.names, detector.size) == (COCO_NAMES, known.input_size)
        assert {"dog", "car", "bicycle"} <= {name for name, _, _ in detector(data / "photos/dog.jpg")}
    assert Explainer.open("coco").info.names == COCO_NAMES


def test_coco_is_the_built_in_network_despite_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "coco").mkdir()
    assert model_path("coco") == model_path(Path("coco")) == BUILT_IN_FOLDER / "coco.cfg"
    assert model_path("coco.onnx") == Path("coco.onnx")
    assert model_path(tmp_path / "coco") == tmp_path / "coco"
    (tmp_path / "coco" / "settings.yaml").touch()
    assert model_path(tmp_path / "coco") == tmp_path / "coco" / "best.safetensors"
    assert [model_name(model_path(each)) for each in ("coco", "runs/coco.cfg")] == ["coco", "runs/coco.cfg"]


@pytest.mark.slow
def test_an_installed_wheel_detects_offline_and_without_torch(data: Path, tmp_path: Path) -> None:
    """A new environment has the dependencies from the package index, and lookonce from the wheel."""
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("lookonce-*.whl")
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("lookonce/builtin/")}
    files = ("LICENSE", "README.md", "coco.cfg", "coco.names", "coco.weights")
    assert inside == {f"lookonce/builtin/{name}" for name in files}

    venv.create(tmp_path / "env", with_pip=True)
    scripts = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    install = [scripts / "python", "-m", "pip", "--quiet", "install", f"{wheel}[evaluate]"]
    subprocess.run(install, check=True)
    dead = "http://127.0.0.1:9"
    offline = {"LOOKONCE_CACHE": str(tmp_path / "cache"), "http_proxy": dead, "https_proxy": dead}
    environment = {**os.environ, **offline}
    environment.pop("PYTHONPATH", None)

    def run(*words: str | Path) -> str:
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    absent = "import importlib.util as u; print(u.find_spec('torch'))"
    assert run(scripts / "python", "-c", absent).strip() == "None"
    photo = data / "photos/dog.jpg"
    assert "dog 1" in run(scripts / "lookonce", "detect", "coco", photo)
    assert "coco.onnx" in run(scripts / "lookonce", "export", "coco", "--to", "onnx", "--out", "made")
    scored = run(scripts / "lookonce", "evaluate", "coco", data / "voc_sample", "--explain", "1")
    assert "tvmonitor" in scored
    code = "import sys; from lookonce import Detector; print(len(Detector.open('coco')(sys.argv[1])))"
    assert int(run(scripts / "python", "-c", code, photo)) >= 3
