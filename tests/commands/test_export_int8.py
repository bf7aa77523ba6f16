"""`lookonce export --int8`: images for calibration and for the gate, and rejected files."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from lookonce._optional import install_line
from lookonce.errors import AnnotationError, ConfigError, ImageError, MissingExtraError
from lookonce.gate import Times
from lookonce.images import write_image
from lookonce.runtime.detector import Detector
from tests.command_line import attempted
from tests.export.models import INFO, write_model

IMAGES = 6
HEIGHT, WIDTH = INFO.input_size


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a model, and images annotated with its detections, so that its AP in float is near 1."""
    folder = tmp_path_factory.mktemp("int8")
    model = write_model(folder / "mine.safetensors")
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        blocks = rng.integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3), np.uint8)
        write_image(folder / f"{number}.png", np.kron(blocks, np.ones((16, 16, 1), np.uint8)))
        write_image(folder / "black" / f"{number}.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    for split, numbers in {"train": range(IMAGES // 2), "val": range(IMAGES // 2, IMAGES)}.items():
        (folder / f"{split}.json").write_text(_annotations(model, folder, numbers))
    (folder / "data.yaml").write_text(f"names: [{', '.join(INFO.names)}]\ntrain: train.json\nval: val.json\n")
    return folder


def _annotations(model: Path, folder: Path, numbers: range) -> str:
    images: list[Any] = []
    rows: list[Any] = []
    with Detector.open(model, conf=0.001) as detector:
        for number in numbers:
            images.append({"id": number, "file_name": f"{number}.png", "width": WIDTH, "height": HEIGHT})
            found = detector(folder / f"{number}.png")[:10]
            for box, label in zip(found.boxes.tolist(), found.labels.tolist(), strict=True):
                left, top, right, bottom = box
                rows.append(
                    {
                        "id": len(rows) + 1,
                        "image_id": number,
                        "category_id": label,
                        "bbox": [left, top, right - left, bottom - top],
                        "iscrowd": 0,
                    }
                )
    categories = [{"id": number, "name": name} for number, name in enumerate(INFO.names)]
    return json.dumps({"images": images, "annotations": rows, "categories": categories})


def to_int8(folder: Path, out: Path, *options: str, to: str = "onnx") -> Result:
    return attempted("export", folder / "mine.safetensors", "--to", to, "--out", out, "--int8", *options)


def files(out: Path) -> list[str]:
    return sorted(each.name for each in out.glob("[!.]*")) if out.exists() else []


@pytest.mark.parametrize(
    ("to", "names"),
    [("onnx", ["mine.int8.onnx"]), ("openvino", ["mine.int8.bin", "mine.int8.xml"])],
)
def test_a_file_calibrated_on_train_and_compared_on_val_is_accepted(
    folder: Path, tmp_path: Path, to: str, names: list[str]
) -> None:
    found = to_int8(
        folder, tmp_path / "out", "--calibrate", str(folder / "data.yaml"), "--max-drop", "1", to=to
    )

    assert found.exit_code == 0, found.output
    assert files(tmp_path / "out") == names
    assert "gate: 3 images that were not calibrated on" in found.stdout
    assert "int8, calibrated on 3 images" in found.stdout
    assert "accepted: AP 0.9" in found.stdout or "accepted: AP 1.0" in found.stdout
    for name in INFO.names:
        assert f"\n {name}" in found.stdout
    with Detector.open(tmp_path / "out" / names[-1]) as detector:
        assert detector.names == INFO.names
        assert detector.info.training["int8"]["images"] == 3


@pytest.mark.parametrize(
    ("to", "names"),
    [
        ("onnx", ["mine.int8.rejected.onnx"]),
        ("openvino", ["mine.int8.rejected.bin", "mine.int8.rejected.xml"]),
    ],
)
def test_a_ruined_file_is_rejected_and_kept_under_another_name(
    folder: Path, tmp_path: Path, to: str, names: list[str]
) -> None:
    """Black images give no range of values for calibration."""
    options = "--calibrate", str(folder / "black"), "--gate-on", str(folder / "data.yaml")
    found = to_int8(folder, tmp_path / "out", *options, to=to)

    assert found.exit_code == 1, found.output
    assert files(tmp_path / "out") == names
    assert "rejected: AP" in found.stdout
    assert "the largest accepted drop is 0.005 (--max-drop)" in found.stdout
    Detector.open(tmp_path / "out" / names[-1]).close()


def test_an_undivided_set_is_split_between_calibration_and_gate(folder: Path, tmp_path: Path) -> None:
    found = to_int8(folder, tmp_path, "--calibrate", str(folder / "train.json"), "--max-drop", "1")

    assert found.exit_code == 0, found.output
    assert "gate: 2 images that were not calibrated on" in found.stdout
    assert "calibrated on 1 image:" in found.stdout


def test_problems_of_an_undivided_set_are_printed_once(folder: Path, tmp_path: Path) -> None:
    for image in folder.glob("*.png"):
        os.link(image, tmp_path / image.name)
    tree = json.loads((folder / "train.json").read_text())
    tree["annotations"].append(tree["annotations"][0] | {"id": 9999, "bbox": [3, 3, 0, 5]})
    (tmp_path / "train.json").write_text(json.dumps(tree))
    options = ("--calibrate", str(tmp_path / "train.json"), "--max-drop", "1")
    found = to_int8(folder, tmp_path / "out", *options)
    assert found.exit_code == 0, found.output
    assert found.stdout.count("has no area") == 1


def test_a_split_can_be_named(folder: Path, tmp_path: Path) -> None:
    options = (
        "--calibrate",
        str(folder / "data.yaml" / "val"),
        "--gate-on",
        str(folder / "data.yaml" / "train"),
    )
    found = to_int8(folder, tmp_path, *options, "--max-drop", "1")

    assert found.exit_code == 0, found.output
    assert found.stdout.index("split val") < found.stdout.index("split train")


def test_a_single_image_serves_both_and_the_output_says_so(folder: Path, tmp_path: Path) -> None:
    content = json.loads((folder / "train.json").read_text())
    content["images"] = content["images"][:1]
    content["annotations"] = [row for row in content["annotations"] if row["image_id"] == 0]
    write_image(tmp_path / "0.png", np.full((HEIGHT, WIDTH, 3), 77, np.uint8))
    (tmp_path / "one.json").write_text(json.dumps(content))
    found = to_int8(folder, tmp_path / "out", "--calibrate", str(tmp_path / "one.json"), "--max-drop", "1")

    assert "no images other than those calibrated on" in found.stdout, found.output


def test_images_without_annotations_need_no_gate(folder: Path, tmp_path: Path) -> None:
    found = to_int8(folder, tmp_path / "out", "--calibrate", str(folder / "black"))

    assert isinstance(found.exception, ConfigError)
    assert "--gate-on, or use --no-gate" in str(found.exception)
    assert not files(tmp_path / "out")

    found = to_int8(folder, tmp_path / "out", "--calibrate", str(folder / "black"), "--no-gate")
    assert found.exit_code == 0, found.output
    assert "not compared with the float model (--no-gate)" in found.stdout
    assert files(tmp_path / "out") == ["mine.int8.onnx"]


def test_damaged_annotations_do_not_count_as_none(folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for number in range(2):
        write_image(data / f"{number}.png", np.full((HEIGHT, WIDTH, 3), 77, np.uint8))
    (data / "README.txt").write_text("Photographs of the harbor.")
    found = to_int8(folder, tmp_path / "out", "--calibrate", str(data), "--no-gate")
    assert "2 images in" in found.stdout, found.output

    (data / "data.yaml").write_text("names: [a, b\ntrain: .\n")
    found = to_int8(folder, tmp_path / "refused", "--calibrate", str(data), "--no-gate")
    assert isinstance(found.exception, AnnotationError), found.output
    assert "data.yaml" in str(found.exception)
    assert not files(tmp_path / "refused")


def test_an_unreadable_image_is_skipped_and_counted(folder: Path, tmp_path: Path) -> None:
    os.link(folder / "0.png", tmp_path / "0.png")
    (tmp_path / "torn.png").write_bytes((folder / "0.png").read_bytes()[:40])
    found = to_int8(folder, tmp_path / "out", "--calibrate", str(tmp_path), "--no-gate")

    assert found.exit_code == 0, found.output
    assert "torn.png" in found.stdout
    assert "1 skipped" in found.stdout
    assert "calibrated on 1 image:" in found.stdout

    (tmp_path / "0.png").unlink()
    found = to_int8(folder, tmp_path / "none", "--calibrate", str(tmp_path), "--no-gate")
    assert isinstance(found.exception, ImageError)
    assert not files(tmp_path / "none")


def test_a_gate_without_objects_is_refused(folder: Path, tmp_path: Path) -> None:
    content = json.loads((folder / "train.json").read_text()) | {"annotations": []}
    (folder / "empty.json").write_text(json.dumps(content))
    options = "--calibrate", str(folder / "black"), "--gate-on", str(folder / "empty.json")
    found = to_int8(folder, tmp_path / "out", *options)

    assert isinstance(found.exception, AnnotationError)
    assert "expected objects to measure AP on, found none in 3 images" in str(found.exception)
    assert not files(tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--calibrate", "x", "--to", "onnx"], "expected --int8 with them"),
        (["--no-gate", "--to", "onnx"], "expected --int8 with them"),
        (["--int8", "--to", "onnx"], "--int8: expected --calibrate DATA"),
        (["--int8", "--to", "onnx", "--calibrate", "x", "--no-gate", "--max-drop", "0.1"], "--no-gate"),
        (["--int8", "--to", "onnx", "--calibrate", "x", "--nms"], "--int8: expected no --nms with it"),
        (
            ["--int8", "--to", "darknet", "--calibrate", "x"],
            "expected no further option but --fit, --out and --force",
        ),
    ],
)
def test_options_that_exclude_each_other_are_refused(
    folder: Path, tmp_path: Path, options: list[str], expected: str
) -> None:
    found = attempted("export", folder / "mine.safetensors", "--out", tmp_path, *options)

    assert isinstance(found.exception, ConfigError)
    assert expected in str(found.exception)


def test_missing_data_is_named(folder: Path, tmp_path: Path) -> None:
    found = to_int8(folder, tmp_path, "--calibrate", str(tmp_path / "absent"))

    assert isinstance(found.exception, AnnotationError)
    assert f"{tmp_path / 'absent'}: expected annotations, found no such file" in str(found.exception)


def test_a_missing_extra_is_named_before_data_is_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "nncf", None)
    found = to_int8(folder, tmp_path, "--calibrate", str(tmp_path / "absent"), to="openvino")

    assert isinstance(found.exception, MissingExtraError)
    assert install_line("export") in str(found.exception)


def test_ctrl_c_leaves_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lookonce.export.quantize_onnx.quantize_static", interrupted)
    to_int8(folder, tmp_path / "out", "--calibrate", str(folder / "data.yaml"))

    assert not files(tmp_path / "out")


def test_precision_int8_is_the_same_as_int8_and_others_are_refused(folder: Path, tmp_path: Path) -> None:
    arguments = ["export", str(folder / "mine.safetensors"), "--to", "onnx", "--out", str(tmp_path)]
    options = "--calibrate", str(folder / "data.yaml"), "--max-drop", "1"

    found = attempted(*arguments, "--precision", "int8", *options)

    assert found.exit_code == 0, found.output
    assert files(tmp_path) == ["mine.int8.onnx"]
    for wrong in ("bfloat16", "auto", "float16"):
        refused = attempted(*arguments, "--precision", wrong)
        assert str(refused.exception).startswith(f"--precision: expected float32 or int8, found '{wrong}'")


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        (2.5, "on this machine: 2.50 times as fast as in float32"),
        (0.8, "not on this machine: it takes 1.25 times as long as float32"),
    ],
)
def test_the_output_says_if_int8_is_slower_here(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ratio: float, said: str
) -> None:
    monkeypatch.setattr("lookonce.export.int8.time_both", lambda *_: Times(ratio, 1.0))
    found = to_int8(folder, tmp_path, "--calibrate", str(folder / "data.yaml"), "--max-drop", "1")
    assert said in found.stdout.splitlines()


def test_the_speed_of_both_files_is_measured(folder: Path, tmp_path: Path) -> None:
    found = to_int8(folder, tmp_path, "--calibrate", str(folder / "data.yaml"), "--no-gate")
    assert "on this machine: " in found.stdout
