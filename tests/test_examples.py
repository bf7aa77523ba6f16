"""The scripts in `examples/`, run as in their docstrings."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lookonce.annotations import write_samples
from lookonce.images import read_image, write_image
from lookonce.samples import SampleSet
from tests.data.drawn_samples import INFO, draw_samples
from tests.tiny_onnx import MAGENTA, YELLOW, image, write_tiny_model

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(script: str, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / script), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "model.onnx")


def test_detect_and_draw_lists_and_draws_objects(model: Path, tmp_path: Path) -> None:
    shown, out = tmp_path / "image.png", tmp_path / "found.png"
    pixels = image((64, 96), ((0, 0, 32, 32), YELLOW), ((64, 0, 96, 32), MAGENTA))
    write_image(shown, pixels)

    ran = run("detect_and_draw.py", model, shown, out)

    assert ran.returncode == 0, ran.stderr
    *objects, last = ran.stdout.splitlines()
    assert sorted(objects) == ["blue 1.00  from 64, 0 to 96, 32", "green 1.00  from 0, 0 to 32, 32"]
    assert last == f"2 objects drawn in {out}"
    assert read_image(out).shape == pixels.shape
    assert np.any(read_image(out) != pixels)


def test_detect_and_draw_says_what_is_wrong(model: Path, tmp_path: Path) -> None:
    assert "detect_and_draw.py MODEL IMAGE OUT" in run("detect_and_draw.py").stderr
    ran = run("detect_and_draw.py", model, tmp_path / "absent.jpg", tmp_path / "out.png")
    assert ran.returncode == 1
    assert "absent.jpg" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_contact_sheet_shows_every_image(model: Path, tmp_path: Path) -> None:
    for number in range(3):
        write_image(tmp_path / "shown" / f"{number}.png", image((64, 96), ((0, 0, 32, 32), YELLOW)))

    ran = run("contact_sheet.py", model, tmp_path / "shown", tmp_path / "sheet.png")

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == f"3 images on {tmp_path / 'sheet.png'}\n"
    # 1000 pixels minus two gaps of 4: images of 3:2 are 992 / 3 pixels wide, and so 220 high
    assert read_image(tmp_path / "sheet.png").shape == (220, 1000, 3)


def test_contact_sheet_arranges_several_shapes_in_rows(model: Path, tmp_path: Path) -> None:
    for number, (height, width) in enumerate([(64, 96), (96, 64), (64, 64), (50, 90), (64, 96)]):
        object_above_left = image((height, width), ((0, 0, 32, 32), YELLOW))
        write_image(tmp_path / "shown" / f"{number}.png", object_above_left)

    assert run("contact_sheet.py", model, tmp_path / "shown", tmp_path / "sheet.png").returncode == 0

    sheet = read_image(tmp_path / "sheet.png")
    first = round((1000 - 3 * 4) / (3 / 2 + 2 / 3 + 1 + 9 / 5))
    assert sheet.shape == (first + 4 + round(1000 / (3 / 2)), 1000, 3)
    assert (sheet[first : first + 4] == 255).all(), "a white line between the rows"
    assert not (sheet[:first, -1] == 255).any(), "the row is filled"
    assert not (sheet[first + 4 :, -1] == 255).any()


def test_every_example_is_tested() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert all(f'run("{script.name}"' in text for script in EXAMPLES.glob("*.py"))


def test_train_from_python_trains(tmp_path: Path) -> None:
    drawn = draw_samples(tmp_path / "drawn", 6)
    sets = {"train": drawn[:4], "val": drawn[4:]}
    write_samples(
        {name: SampleSet(INFO.names, samples, [], "drawn") for name, samples in sets.items()},
        "coco",
        tmp_path / "data",
    )

    ran = run(
        "train_from_python.py", tmp_path / "data", tmp_path / "run", "size=64", "width=0.125", "epochs=1"
    )

    assert ran.returncode == 0, ran.stderr
    assert "4 images" in ran.stdout
    assert f"finished 1 of 1 epochs, best AP 0.000: {tmp_path / 'run' / 'best.safetensors'}" in ran.stdout
    assert (tmp_path / "run" / "best.safetensors").exists()
    assert "train_from_python.py DATA OUT" in run("train_from_python.py").stderr
