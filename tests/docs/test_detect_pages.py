"""`docs/detect.md` and `docs/python.md`: every command and every line of Python runs."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lookonce.cli import app
from lookonce.darknet.cache import cached_onnx
from tests.videos import write_video

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


@pytest.fixture
def desk(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `model.onnx`, `photos/`, `clip.mp4` and `instances.json`, where the pages start."""
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "cache"))
    nano = data / "darknet" / "MobileNetV2-YOLOv3-Nano-coco.cfg"
    cfg = tmp_path / "nano.cfg"  # the pages show a model that letterboxes
    cfg.write_text(nano.read_text().replace("[net]", "[net]\nletter_box=1", 1))
    names = cfg.with_suffix(".names")
    names.write_bytes((data / "darknet" / "coco.names").read_bytes())
    model = cached_onnx(cfg, nano.with_suffix(".weights"))
    cfg.unlink()
    names.unlink()
    model.rename(tmp_path / "model.onnx")
    photos = (data / "photos" / "dog.jpg").parent
    (tmp_path / "photos").symlink_to(photos)
    write_video(tmp_path / "clip.mp4", [np.zeros((64, 96, 3), np.uint8)], 25.0)
    classes = (data / "darknet" / "coco.names").read_text().splitlines()
    instances = {
        "images": [
            {"id": number, "file_name": path.name, "width": 8, "height": 8}
            for number, path in enumerate(sorted(photos.iterdir()), 100)
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(classes, 200)],
        "annotations": [],
    }
    (tmp_path / "instances.json").write_text(json.dumps(instances))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands(desk: Path) -> None:
    said = ""
    for line in re.findall(r"^\$ lookonce (.+)$", "\n".join(blocks("detect.md", "console")), re.M):
        words = shlex.split(line.partition(" > ")[0])
        found = CliRunner().invoke(app, words, catch_exceptions=False)
        assert found.exit_code == 0, line
        said += found.stdout
    for line in blocks("detect.md", "console")[0].splitlines()[2:]:
        assert line in said
    assert "7 images, 28 detections" in said
    assert len(list((desk / "found" / "annotated").rglob("*.*"))) == 8
    coco = json.loads((desk / "detections" / "coco_results.json").read_text())
    assert {entry["image_id"] for entry in coco} <= set(range(100, 107))
    assert min(entry["category_id"] for entry in coco) == 200


def test_pipes(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    lines = re.findall(r"^\$ (.+ \| lookonce .+)$", "\n".join(blocks("detect.md", "console")), re.M)
    said = [
        subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True) for line in lines
    ]

    assert [done.stdout.split(" image")[0] for done in said] == ["done: 7", "done: 1"]


def test_the_json_example_is_what_is_written(desk: Path) -> None:
    example = json.loads(blocks("detect.md", "json")[0])["images"][0]
    words = ["detect", "model.onnx", "photos/person.jpg", "--save", "json"]
    assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0

    written = json.loads((desk / "detections" / "detections.json").read_text())["images"][0]
    best = {**written, "detections": written["detections"][:1]}
    assert best.keys() == example.keys()
    assert {**best, "detections": []} == {**example, "detections": []}
    (ours,), (printed,) = best["detections"], example["detections"]
    assert ours["class"] == printed["class"]
    assert ours["score"] == pytest.approx(printed["score"], abs=1e-3)
    assert ours["box"] == pytest.approx(printed["box"], abs=0.1)


def test_python(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scope: dict[str, object] = {}
    exec(blocks("python.md", "python")[0], scope)
    assert capsys.readouterr().out == blocks("python.md", "text")[0]

    for block in blocks("python.md", "python")[1:]:
        exec(block, scope)

    said = capsys.readouterr().out
    assert "0 files skipped" in said
    assert "photos/absent.jpg: cannot be read: No such file or directory" in said
    assert (desk / "dog_found.png").exists()
