"""`lookonce evaluate`, from the command line to the written files."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookonce._optional import install_line
from lookonce.detections import Detections
from lookonce.explain import explainer, page
from lookonce.images import write_image
from lookonce.runtime.detector import Detector
from lookonce.samples import Sample
from lookonce.seen import Seen, fingerprints
from tests.command_line import typed
from tests.data.drawn_samples import INFO
from tests.tiny_onnx import YELLOW, image, write_tiny_model

REPORT = [
    "confusion.png",
    "f1_threshold.png",
    "metrics.json",
    "precision_recall.png",
    "report.html",
    "report.json",
]
BOX = [10, 10, 50, 40]
Damage = Callable[[bytes], bytes]


class FixedDetector:
    """Stands in for `Detector`: finds a `dog` in every image, at the annotated box."""

    names = ("cat", "dog", "bird")
    size = (64, 96)
    info = replace(INFO, names=names, input_size=size)

    @classmethod
    def open(cls, path: Path, *_: object, **__: object) -> "FixedDetector":
        return cls()

    with_options = open

    def __enter__(self) -> "FixedDetector":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, image: np.ndarray) -> Detections:
        assert image.shape[2] == 3
        return Detections(np.array([BOX], np.float32), np.array([0.8], np.float32), np.array([1]), self.names)


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lookonce.runtime.detector.Detector", FixedDetector)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Write two images with a dog (class 0) where the detector finds it, and one with a fish (class 1)."""
    noise = np.random.default_rng(0).integers(0, 256, (80, 100, 3), np.uint8)
    for name in ("a", "b", "c"):
        Image.fromarray(noise).save(tmp_path / f"{name}.png")
    box = ",".join(map(str, BOX))
    (tmp_path / "lines.txt").write_text(f"a.png {box},0\nb.png {box},0\nc.png {box},1\n")
    (tmp_path / "names.txt").write_text("dog\nfish\n")
    return tmp_path


def cut(content: bytes) -> bytes:
    """Cut a file short, which is noticed when the annotations are read."""
    return content[:10_000]


def scratch(content: bytes) -> bytes:
    """Damage a file in a way that is noticed only when the image is decoded."""
    return content[:5_000] + bytes(5_000) + content[10_000:]


def evaluate_lines(folder: Path, *more: object) -> int:
    return typed("evaluate", "model.onnx", folder / "lines.txt", "--names", folder / "names.txt",
        "--out", folder / "report", *more,
    )  # fmt: skip


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("evaluate", "--help") == 0
    assert "Example: lookonce evaluate" in capsys.readouterr().out


@pytest.mark.usefixtures("fixed")
def test_classes_are_matched_by_name_and_the_others_named(
    capsys: pytest.CaptureFixture[str], images: Path
) -> None:
    assert evaluate_lines(images, "--json", images / "numbers.json") == 0
    said = capsys.readouterr().out
    assert "the model does not know fish" in said
    assert "the data does not have cat, bird" in said
    assert sorted(path.name for path in (images / "report").glob("[!.]*")) == REPORT
    numbers = json.loads((images / "report" / "metrics.json").read_text())
    assert numbers == json.loads((images / "numbers.json").read_text())
    assert [row["name"] for row in numbers["classes"]] == ["dog"]
    assert numbers["size"] == [64, 96]
    assert (numbers["images"], numbers["objects"], numbers["detections"]) == (3, 2, 3)
    assert numbers["confusion"]["counts"] == [[2, 0], [1, 0]]  # a false alarm on the fish image
    assert numbers["best_f1"]["f1"] == pytest.approx(0.8)
    tree = json.loads((images / "report" / "report.json").read_text())
    assert tree["metrics"] == {name: numbers[name] for name in tree["metrics"]}
    assert tree["summary"]["text"] in said
    errors = tree["errors"]
    assert {name: each["count"] for name, each in errors["types"].items() if each["count"]} == {
        "background": 1
    }
    assert errors["worst"] == [{"image": str(images / "c.png"), "errors": {"background": 1}}]
    html = (images / "report" / "report.html").read_text()
    worst, best = html.split("The best images")
    assert 'alt="c.png: detections"' in worst
    assert 'alt="a.png: ground truth"' in best  # no errors there
    assert "Not explained: model.onnx: no such file." in html
    assert "not explained: model.onnx: no such file" in said


@pytest.mark.usefixtures("fixed")
def test_counts_and_intervals_are_printed_and_written(
    capsys: pytest.CaptureFixture[str], images: Path
) -> None:
    assert evaluate_lines(images) == 0
    said = capsys.readouterr().out
    assert "95% intervals over 3 images" in said
    assert "the model has no thresholds; each half of the images uses those chosen on the other half" in said
    table = said[said.index(" counts ") :].split("the model has")[0].splitlines()
    row = next(line.split() for line in table if "dog" in line)
    assert row[1:5] == ["0.40", "2", "3", "+50%"]
    assert row[-2:] == ["0.33", "+0.33"]
    assert max(map(len, table)) <= 80
    numbers = json.loads((images / "report" / "metrics.json").read_text())
    low, high = numbers["ap50_interval"]
    assert 0 <= low <= numbers["ap50"] <= high
    assert numbers["counting"]["thresholds_from"] == "these images"
    assert numbers["counts"][2] == {"image": str(images / "c.png"), "annotated": {}, "counted": {"dog": 1}}


@pytest.mark.usefixtures("fixed")
def test_intervals_count_groups_as_units(capsys: pytest.CaptureFixture[str], images: Path) -> None:
    assert evaluate_lines(images, "--group", r"/[ab](\.png)") == 0
    assert "95% intervals over 2 groups" in capsys.readouterr().out
    assert json.loads((images / "report" / "metrics.json").read_text())["intervals"]["over"] == "groups"
    assert evaluate_lines(images, "--group", "(", "--force") == 2
    assert "--group: expected folder or a regular expression, found '('" in capsys.readouterr().err


@pytest.mark.usefixtures("fixed")
def test_seen_images_are_counted_and_held_out_ones_preferred(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], images: Path
) -> None:
    for name, gray in (("a", 40), ("b", 80), ("c", 120)):
        Image.fromarray(np.full((80, 100, 3), gray, np.uint8)).save(images / f"{name}.png")
    first, second, third = fingerprints([images / f"{name}.png" for name in "abc"]).values()
    record = Seen(frozenset({first, third}), frozenset({second})).record()
    assert record
    monkeypatch.setattr(FixedDetector, "info", replace(FixedDetector.info, training={"seen": record}))
    assert evaluate_lines(images) == 0
    said = capsys.readouterr().out
    assert "held-out: " in said
    assert "warning" not in said
    numbers = json.loads((images / "report" / "metrics.json").read_text())
    part = numbers["split"], numbers["images"], numbers["learned_from"], numbers["validated_on"]
    assert part == ("held-out", 1, 0, 1)
    assert evaluate_lines(images, "--split", "all") == 0
    said = capsys.readouterr().out
    assert "warning: the model has learned from 2 of the 3 images: the results are optimistic" in said
    assert json.loads((images / "report" / "metrics.json").read_text())["learned_from"] == 2
    assert evaluate_lines(images, "--split", "val") == 2
    assert "expected one of held-out, all, found no split val" in capsys.readouterr().err


def test_the_best_thresholds_are_stored_in_the_model_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    model = write_tiny_model(tmp_path / "model.onnx")
    write_image(tmp_path / "photo.png", image((96, 96), ((32, 32, 64, 64), YELLOW)))
    (tmp_path / "lines.txt").write_text("photo.png 32,32,64,64,0\n")
    (tmp_path / "names.txt").write_text("green\nred\n")
    more = model, tmp_path / "lines.txt", "--names", tmp_path / "names.txt", "--out", tmp_path / "report"
    assert typed("evaluate", *more, "--explain", 0, "--set-thresholds") == 0
    assert "score thresholds are now green 0." in capsys.readouterr().out
    with Detector.open(model) as detector:
        green, blue = detector.info.thresholds
        assert 0 < green < 1
        assert blue == 0.25  # not in the data
        assert detector.options.conf == {"green": green, "blue": 0.25}
    assert typed("evaluate", *more, "--explain", 0, "--force") == 0
    assert (
        json.loads((tmp_path / "report" / "metrics.json").read_text())["counting"]["thresholds_from"]
        == "model"
    )


def test_set_thresholds_is_refused_for_models_that_cannot_store_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    more = tmp_path / "no such data", "--out", tmp_path / "report", "--set-thresholds"
    for model in ("coco", tmp_path / "model.cfg"):
        assert typed("evaluate", model, *more) == 2
        assert ".cfg: expected a file with a description" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "report").exists()


@pytest.mark.usefixtures("fixed")
@pytest.mark.parametrize("damage", [cut, scratch])
def test_a_bad_image_is_skipped_named_and_counted(
    capsys: pytest.CaptureFixture[str], images: Path, damage: Damage
) -> None:
    (images / "b.png").write_bytes(damage((images / "b.png").read_bytes()))
    assert evaluate_lines(images) == 1
    assert "b.png" in capsys.readouterr().out
    numbers = json.loads((images / "report" / "metrics.json").read_text())
    assert (numbers["images"], numbers["problems"]["skipped"]) == (2, 1)


@pytest.mark.usefixtures("fixed")
@pytest.mark.parametrize("damage", [cut, scratch])
def test_strict_stops_at_a_bad_image_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], images: Path, damage: Damage
) -> None:
    (images / "b.png").write_bytes(damage((images / "b.png").read_bytes()))
    assert evaluate_lines(images, "--strict") == 2
    assert "b.png" in capsys.readouterr().err
    assert not (images / "report").exists()


@pytest.mark.usefixtures("fixed")
def test_no_readable_image_is_an_error(capsys: pytest.CaptureFixture[str], images: Path) -> None:
    for path in images.glob("*.png"):
        path.write_bytes(b"not an image at all")
    assert evaluate_lines(images) == 2
    assert "found none that can be read" in capsys.readouterr().err
    assert not (images / "report").exists()


@pytest.mark.usefixtures("fixed")
def test_a_bad_size_is_named(capsys: pytest.CaptureFixture[str], images: Path) -> None:
    assert evaluate_lines(images, "--size", "100") == 2
    assert "--size: expected a size like 416" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["faster_coco_eval", "matplotlib"])
def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], images: Path, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert evaluate_lines(images) == 2
    assert install_line("evaluate") in capsys.readouterr().err


def test_a_missing_model_is_named(capsys: pytest.CaptureFixture[str], images: Path) -> None:
    assert evaluate_lines(images) == 2
    assert "model.onnx: no such file" in capsys.readouterr().err


def test_a_darknet_model_is_evaluated_on_voc_images(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = data / "darknet" / "MobileNetV2-YOLOv3-Nano-coco.cfg"
    folder = data / "voc_sample" / "gts" / "pascalvoc_format"
    assert typed("evaluate", model, folder, "--out", tmp_path / "report", "--explain", 2) == 0
    said = capsys.readouterr().out
    assert "100 images" in said
    assert "skipped: the data does not have truck" in said
    numbers = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert numbers["ap50"] == pytest.approx(0.438, abs=0.01)
    by_name = {row["name"]: row for row in numbers["classes"]}
    assert by_name["bus"]["ap50"] > 0.9
    assert by_name["aeroplane"]["ap50"] == 0  # this network never predicts aeroplane
    links = re.findall(r'href="(explained/[^"]+)"', (tmp_path / "report" / "report.html").read_text())
    assert links == ["explained/01.html", "explained/02.html"]
    worst = json.loads((tmp_path / "report" / "report.json").read_text())["errors"]["worst"]
    for link, each in zip(links, worst, strict=False):
        assert Path(each["image"]).name in (tmp_path / "report" / link).read_text()


@pytest.mark.usefixtures("fixed")
def test_the_explainer_gets_the_models_own_class_numbers(
    monkeypatch: pytest.MonkeyPatch, images: Path
) -> None:
    asked = []

    class Recorder:
        @classmethod
        def open(cls, model: Path, **options: object) -> "Recorder":
            asked.append((str(model), options))
            return cls()

        def __call__(self, image: Path, truth: Sample, *, features: bool) -> str:
            asked.append((image.name, truth.labels.tolist(), features))
            return "explained"

    monkeypatch.setattr(explainer, "Explainer", Recorder)
    monkeypatch.setattr(page, "write_page", lambda explanation, path: asked.append((explanation, path.name)))
    (images / "lines.txt").write_text("a.png 0,50,90,75,0 0,0,5,5,1\nb.png 10,10,50,40,0\n")

    assert evaluate_lines(images, "--fit", "stretch") == 0

    options = {"size": (64, 96), "conf": pytest.approx(0.4), "iou": 0.45, "fit": "stretch", "weights": None}
    assert asked == [
        ("model.onnx", options),
        ("a.png", [1], True),  # dog is class 0 in the data and 1 in the model, which lacks fish
        ("explained", "01.html"),
    ]


@pytest.mark.usefixtures("fixed")
def test_nothing_is_explained_unless_asked_for(images: Path) -> None:
    assert evaluate_lines(images, "--explain", 0) == 0
    html = (images / "report" / "report.html").read_text()
    assert "Not explained" not in html
    assert 'href="explained' not in html


@pytest.mark.usefixtures("fixed")
def test_more_than_100_objects_in_an_image_are_noted(
    capsys: pytest.CaptureFixture[str], images: Path
) -> None:
    boxes = " ".join(f"{x},{y},{x + 5},{y + 5},0" for x in range(0, 90, 8) for y in range(0, 72, 8))
    (images / "lines.txt").write_text(f"a.png {boxes}\n")
    assert evaluate_lines(images) == 0
    assert "more than 100 objects of one class: 1;" in capsys.readouterr().out
