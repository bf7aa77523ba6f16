"""`lookonce detect --save` for labeling tools: the files have all boxes, and can be read back."""

import json
import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookonce.annotations import load_splits
from lookonce.detections import Detections
from lookonce.errors import LookonceError
from lookonce.images import write_image
from lookonce.runtime.pre_annotations import FORMS, AnnotationWriter
from lookonce.runtime.sources import Frame, Sources
from tests.command_line import invoke
from tests.tiny_onnx import MAGENTA, YELLOW, image
from tests.videos import write_video

LEFT, RIGHT = (0, 0, 32, 32), (64, 32, 96, 64)
FAINT = (255, 128, 0)  # green with score 0.5
run = partial(invoke, "detect")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Write three images of different sizes, two with the same name: two objects, a faint object, none."""
    folder = tmp_path / "photos"
    write_image(folder / "a" / "street 1.png", image((128, 192), *_doubled((LEFT, YELLOW), (RIGHT, MAGENTA))))
    write_image(folder / "b" / "street 1.png", image((64, 96), (RIGHT, FAINT)))
    write_image(folder / "b" / "none.png", image((64, 96)))
    return folder


def _doubled(
    *objects: tuple[tuple[int, int, int, int], tuple[int, int, int]],
) -> list[tuple[tuple[int, int, int, int], tuple[int, int, int]]]:
    return [((2 * a, 2 * b, 2 * c, 2 * d), color) for (a, b, c, d), color in objects]


def accept_predictions(tasks: Path) -> None:
    """Change a file of tasks into the export of a person who accepts every prediction."""
    tree = json.loads(tasks.read_text())
    for task in tree:
        (prediction,) = task.pop("predictions")
        task["annotations"] = [{"result": prediction["result"]}]
    tasks.write_text(json.dumps(tree))


@pytest.mark.parametrize("form", FORMS)
def test_every_written_box_reads_back(model: Path, photos: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / "out"

    result = run(model, photos / "a", photos / "b", "--out", out, "--save", f"json,{form}")

    assert result.exit_code == 0
    assert f"{form}:" in result.stdout
    if form == "labelstudio":
        accept_predictions(out / form / "train.json")
    (found,) = load_splits(out / form).values()
    assert (found.format, found.names) == (form, ("green", "blue"))
    assert [problem.what for problem in found.problems] == ["no object: kept as a background image"]
    expected = json.loads((out / "detections.json").read_text())["images"]
    assert len(expected) == len(found.samples) == 3
    by_path = {sample.path.resolve(): sample for sample in found.samples}
    for entry in expected:
        sample = by_path[Path(entry["file"]).resolve()]
        assert sample.image_size == (entry["height"], entry["width"])
        boxes = np.array([each["box"] for each in entry["detections"]], np.float32).reshape(-1, 4)
        np.testing.assert_allclose(sample.boxes, boxes, rtol=0, atol=1e-3)
        assert [found.names[label] for label in sample.labels] == [e["class"] for e in entry["detections"]]
    assert {tuple(sample.boxes[0].round(3)) for sample in found.samples if len(sample.boxes)} == {
        (0, 0, 64, 64),
        (64, 32, 96, 64),
    }


def test_scores_are_written_if_the_format_stores_them(model: Path, photos: Path, tmp_path: Path) -> None:
    run(model, photos / "a", photos / "b", "--out", tmp_path, "--save", "cvat,labelstudio,labelme")

    root = ET.parse(tmp_path / "cvat" / "annotations.xml").getroot()
    assert root.findtext("version") == "1.1"
    labels = root.findall("meta/task/labels/label")
    assert [(each.findtext("name"), each.findtext("attributes/attribute/name")) for each in labels] == [
        ("green", "score"),
        ("blue", "score"),
    ]
    first, second, third = root.findall("image")
    assert [box.findtext("attribute[@name='score']") for box in first] == ["1.000", "1.000"]
    assert second.get("name") == "none.png"  # in order of the names in each folder
    assert len(second) == 0
    assert [box.findtext("attribute[@name='score']") for box in third] == ["0.502"]
    assert (tmp_path / "cvat" / "images" / str(third.get("name"))).samefile(photos / "b" / "street 1.png")

    tasks = json.loads((tmp_path / "labelstudio" / "train.json").read_text())
    (both,), (none,), (faint,) = (task["predictions"] for task in tasks)
    assert [result["score"] for result in both["result"]] == [1, 1]
    assert (none["result"], none["score"]) == ([], 1)
    assert faint["score"] == faint["result"][0]["score"] == pytest.approx(128 / 255, abs=1e-5)
    assert tasks[0]["data"]["image"] == "/data/local-files/?d=labelstudio/images/street%201.png"
    interface = ET.parse(tmp_path / "labelstudio" / "interface.xml").getroot()
    shown, control = interface
    assert shown.attrib == {"name": "image", "value": "$image"}
    assert (control.tag, control.attrib) == ("RectangleLabels", {"name": "label", "toName": "image"})
    assert [label.get("value") for label in control] == ["green", "blue"]
    result = both["result"][0]
    assert (result["from_name"], result["to_name"], result["type"]) == ("label", "image", "rectanglelabels")
    assert result["value"] == {
        "x": 0, "y": 0, "width": pytest.approx(100 / 3), "height": 50, "rotation": 0,
        "rectanglelabels": ["green"],
    }  # fmt: skip

    shapes = json.loads((tmp_path / "labelme" / "train" / "street 1_2.json").read_text())["shapes"]
    assert [set(shape) for shape in shapes] == [{"label", "points", "group_id", "shape_type", "flags"}]


def test_sure_lists_the_images_to_check(model: Path, photos: Path, tmp_path: Path) -> None:
    words = model, photos / "a", photos / "b", "--save", "yolo", "--sure"

    result = run(*words, 0.6, "--out", tmp_path / "6", "--json", tmp_path / "summary.json")

    assert "1 image to check" in result.stdout
    assert (tmp_path / "6" / "check.txt").read_text() == f"{photos / 'b' / 'street 1.png'}\n"
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["to_check"], summary["detections"]) == (1, {"green": 2, "blue": 1})
    (found,) = load_splits(tmp_path / "6" / "yolo").values()
    assert sorted(len(sample.boxes) for sample in found.samples) == [0, 0, 2]

    assert "0 images to check" in run(*words, 0.4, "--out", tmp_path / "4").stdout
    (found,) = load_splits(tmp_path / "4" / "yolo").values()
    assert sorted(len(sample.boxes) for sample in found.samples) == [0, 1, 2]
    # the list is a valid SOURCE
    assert run(model, f"@{tmp_path / '6' / 'check.txt'}", "--out", tmp_path / "again").exit_code == 0


def test_corrected_annotations_are_never_replaced(model: Path, photos: Path, tmp_path: Path) -> None:
    words = model, photos / "b", "--out", tmp_path / "out", "--save", "labelme"
    run(*words)
    corrected = tmp_path / "out" / "labelme" / "train" / "none.json"
    corrected.write_text("mine")
    for more in ([], ["--force"]):
        with pytest.raises(LookonceError, match="labelme: expected a new or empty folder, found files"):
            run(*words, *more)
    assert corrected.read_text() == "mine"


def test_resumed_images_are_written_too(model: Path, photos: Path, tmp_path: Path) -> None:
    words = "--out", tmp_path / "out", "--save"
    run(model, photos / "a", *words, "json")
    assert (
        "1 image of them kept"
        in run(model, photos / "a", photos / "b", *words, "json,voc", "--resume").stdout
    )
    (found,) = load_splits(tmp_path / "out" / "voc").values()
    assert sorted(len(sample.boxes) for sample in found.samples) == [0, 1, 2]


@pytest.mark.parametrize("form", FORMS)
def test_a_finished_run_is_resumed(model: Path, photos: Path, tmp_path: Path, form: str) -> None:
    """The same command keeps the folder with its corrections, and reports what it lacks."""
    words = "--out", tmp_path / "out", "--save", f"json,{form}"
    first = run(model, photos / "a", *words, "--resume")
    again = run(model, photos / "a", *words, "--resume")
    assert (first.exit_code, again.exit_code) == (0, 0)
    corrected = next(each for each in (tmp_path / "out" / form).rglob("*") if each.is_file())
    corrected.write_text("mine")

    more = run(model, photos / "a", photos / "b", *words, "--resume")

    assert more.exit_code == 1
    assert "kept as it is, without 2 new images" in " ".join(more.stderr.split())
    assert corrected.read_text() == "mine"
    (tmp_path / "out" / form).rename(tmp_path / "away")
    assert run(model, photos / "a", photos / "b", *words, "--resume").exit_code == 0
    (found,) = load_splits(tmp_path / "out" / form).values()
    assert len(found.samples) == 3


def test_a_stopped_run_is_resumed(
    model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = model, photos / "a", photos / "b", "--out", tmp_path / "out", "--save", "json,labelme"
    add, added = AnnotationWriter.add, list[str]()

    def stop_at_second(self: AnnotationWriter, frame: Frame, detections: Detections) -> None:
        if added:
            raise KeyboardInterrupt
        added.append(frame.name)
        add(self, frame, detections)

    with monkeypatch.context() as patch:
        patch.setattr(AnnotationWriter, "add", stop_at_second)
        run(*words)
    assert not (tmp_path / "out" / "labelme").exists()
    assert run(*words, "--resume").exit_code == 0
    (found,) = load_splits(tmp_path / "out" / "labelme").values()
    assert len(found.samples) == 3


def test_pages_are_reported_and_kept_in_all_other_results(model: Path, photos: Path, tmp_path: Path) -> None:
    first, second = (Image.open(photos / "b" / f"{name}.png") for name in ("street 1", "none"))
    first.save(photos / "b" / "stack.tif", save_all=True, append_images=[second])
    out = tmp_path / "out"
    words = model, photos / "b", "--out", out, "--save", "json,csv,labelme", "--resume"
    for result in (run(*words), run(*words)):
        assert result.exit_code == 1
        told = " ".join(result.stderr.split())
        assert told.count("found a page of several") == 2
        assert told.count("stack.tif#1") == 1
    listed = [Path(each["file"]).name for each in json.loads((out / "detections.json").read_text())["images"]]
    assert sorted(listed) == ["none.png", "stack.tif#1", "stack.tif#2", "street 1.png"]
    assert (out / "detections.csv").read_text().count("stack.tif#1") == 1
    assert len(list((out / "labelme" / "train").glob("*.json"))) == 2


@pytest.mark.parametrize("name", ["a\x01b.png", "a\udcff.png", "a\u2028b.png"])
@pytest.mark.parametrize("form", FORMS)
def test_a_strange_name_skips_one_image(
    model: Path, photos: Path, tmp_path: Path, form: str, name: str
) -> None:
    (photos / "b" / "none.png").rename(photos / "b" / name)
    result = run(model, photos / "b", "--out", tmp_path / "out", "--save", form)
    assert result.exit_code == 1
    assert "that is not Unicode, or has control characters" in " ".join(result.stderr.split())
    if form == "labelstudio":
        accept_predictions(tmp_path / "out" / form / "train.json")
    (found,) = load_splits(tmp_path / "out" / form).values()
    assert [sample.path.name for sample in found.samples] == ["street 1.png"]


@pytest.mark.parametrize("form", ["voc", "labelme", "labelstudio"])
def test_a_class_name_that_a_format_cannot_store_is_refused(photos: Path, tmp_path: Path, form: str) -> None:
    sources = Sources([photos / "a"])
    with pytest.raises(LookonceError, match="expected class names of one line, found ' cat'"):
        AnnotationWriter(tmp_path / form, form, (" cat",), sources)
    with pytest.raises(LookonceError, match="expected class names without control characters"):
        AnnotationWriter(tmp_path / "cvat", "cvat", ("c\x01t",), sources)


def test_an_image_that_a_format_cannot_store_is_named(model: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "b" / "none.png").rename(photos / "b" / "no\nne.png")
    result = run(model, photos / "b", "--out", tmp_path / "out", "--save", "voc", "--json", tmp_path / "j")
    assert result.exit_code == 1
    assert "voc cannot store a line break in a name" in result.stderr.replace("\n", " ")
    assert len(json.loads((tmp_path / "j").read_text())["skipped"]) == 1
    (found,) = load_splits(tmp_path / "out" / "voc").values()
    assert [sample.path.name for sample in found.samples] == ["street 1.png"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{folder}/clip.mp4", "--save", "cvat"], "--save cvat: expected image files, .*; found .*clip.mp4"),
        (["-", "--save", "json,yolo"], "--save yolo: expected image files, .*; found -$"),
        (["{folder}/a", "--sure", "0.5"], "--sure: expected one of yolo, voc, .* among --save, found images"),
    ],
)
def test_wrong_input_is_refused_before_detecting(
    model: Path, photos: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    write_video(photos / "clip.mp4", [np.zeros((64, 96, 3), np.uint8)], 25.0)
    with pytest.raises(LookonceError, match=message):
        run(model, *[word.format(folder=photos) for word in words], "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
