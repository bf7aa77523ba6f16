"""`docs/detect.md` and `docs/python.md`: every command and every line of Python runs."""

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import httpx
import numpy as np
import pytest

from lookonce.annotations import write_samples
from lookonce.darknet.cache import cached_onnx
from lookonce.images import read_image
from lookonce.samples import SampleSet
from tests.command_line import invoke
from tests.data.drawn_samples import INFO, draw_samples
from tests.videos import write_video

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


@pytest.fixture
def desk(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the folder of the pages: `model.onnx`, `photos/`, `clip.mp4`, `instances.json`; change to it."""
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "cache"))
    nano = data / "darknet" / "MobileNetV2-YOLOv3-Nano-coco.cfg"
    cfg = tmp_path / "nano.cfg"  # the pages show a model with letterboxing
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


def test_the_commands_print_what_the_page_shows(desk: Path) -> None:
    said = ""
    for line in re.findall(r"^\$ lookonce (.+)$", "\n".join(blocks("detect.md", "console")), re.M):
        words = shlex.split(line.partition(" > ")[0])
        found = invoke(*words)
        assert found.exit_code == 0, line
        said += found.stdout
    for line in blocks("detect.md", "console")[0].splitlines()[2:]:
        assert line in said
    assert "7 images, 28 detections" in said
    assert len(list((desk / "found" / "annotated").rglob("*.*"))) == 8
    coco = json.loads((desk / "detections" / "coco_results.json").read_text())
    assert {entry["image_id"] for entry in coco} <= set(range(100, 107))
    assert min(entry["category_id"] for entry in coco) == 200


def test_the_piped_commands_run(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    lines = re.findall(r"^\$ (.+ \| lookonce .+)$", "\n".join(blocks("detect.md", "console")), re.M)
    said = [
        subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True) for line in lines
    ]

    assert [done.stdout.split(" image")[0] for done in said] == ["done: 7", "done: 1"]


def test_the_json_example_matches_what_detect_writes(desk: Path) -> None:
    example = json.loads(blocks("detect.md", "json")[0])["images"][0]
    words = ["detect", "model.onnx", "photos/person.jpg", "--save", "json"]
    assert invoke(*words).exit_code == 0

    written = json.loads((desk / "detections" / "detections.json").read_text())["images"][0]
    best = {**written, "detections": written["detections"][:1]}
    assert best.keys() == example.keys()
    assert {**best, "detections": []} == {**example, "detections": []}
    (ours,), (printed,) = best["detections"], example["detections"]
    assert ours["class"] == printed["class"]
    assert ours["score"] == pytest.approx(printed["score"], abs=1e-3)
    assert ours["box"] == pytest.approx(printed["box"], abs=0.1)


class StandInForGradio(ModuleType):
    """Stands in for Gradio: calls the function once on a photograph, instead of serving."""

    shown: ClassVar[list[Any]] = []

    Image = Slider = staticmethod(lambda *given: given)

    def Interface(self, function: Callable[..., Any], inputs: list[Any], outputs: Any) -> Any:  # noqa: N802
        assert len(inputs) == 2
        image = read_image(Path("photos/dog.jpg"))
        return SimpleNamespace(launch=lambda: self.shown.append(function(image, 0.25)))


def test_the_python_examples_run(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks run in order; those that need a missing package are left out, and reported as skipped."""
    drawn = draw_samples(desk / "drawn", 6)
    splits = {"train": drawn[:4], "val": drawn[4:]}
    sets = {name: SampleSet(INFO.names, samples, [], "drawn") for name, samples in splits.items()}
    write_samples(sets, "coco", desk / "my-images")
    monkeypatch.setitem(sys.modules, "gradio", StandInForGradio("gradio"))
    scope: dict[str, Any] = {}
    printed = blocks("python.md", "text")
    pages = blocks("python.md", "python")
    for number, block in enumerate(pages):
        capsys.readouterr()
        if "__main__" in block:
            (desk / "pool.py").write_text(block)
            done = subprocess.run([sys.executable, "pool.py"], capture_output=True, text=True)
            assert "dog.jpg Detections(3: dog 0.96" in done.stdout, done.stderr
            continue
        exec(block, scope)
        said = capsys.readouterr().out
        if number == 0:
            assert said == printed[0]
        elif 'conf={"dog": 0.99' in block:
            assert said == printed[1]
        elif "skipped" in block:
            assert "animals" in said
            assert "0 files skipped" in said
        elif "dogs in all" in block:
            assert "dog.jpg {'dog': 1, 'car': 1, 'bicycle': 1}" in said
        elif "fastapi" in block:
            check_service(scope["app"], desk / "photos/dog.jpg")
    assert "photos/absent.jpg: cannot be read: No such file or directory" in said
    assert len(list((desk / "crops").glob("*.png"))) == 3
    before, blurred = (read_image(Path(name)) for name in ("photos/person.jpg", "blurred.png"))
    assert 0.01 < (before != blurred).any(axis=2).mean() < 0.5
    assert (desk / "dog_found.png").exists()
    assert [each.size for each in StandInForGradio.shown] == [(768, 576)]
    assert scope["measured"].metrics.ap >= 0


def check_service(app: Any, photo: Path) -> None:
    """Post an image like a browser."""

    async def post() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.post("/detect?conf=0.5", files={"file": photo.read_bytes()})

    answer = asyncio.run(post())
    assert answer.status_code == 200, answer.text
    assert [each["class"] for each in answer.json()["detections"]] == ["dog", "car"]
    assert (answer.json()["width"], answer.json()["height"]) == (768, 576)
