import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookonce.annotations import load_samples
from lookonce.cli import main
from lookonce.errors import AnnotationError, ConfigError
from lookonce.images import write_image
from tests.command_line import invoke

run = partial(invoke, "data", columns=100)


def test_stats_are_printed_with_the_problems(data: Path) -> None:
    found = run("stats", data / "heads")
    assert found.exit_code == 1
    assert "10516 (525)" in found.stdout
    assert "Pascal VOC folder" in found.stderr
    assert "2 skipped, 16 repaired, 9 noted" in found.stderr
    assert "PartA_01002.xml: object 60: [958, 231, 958, 231] has no area" in found.stderr
    assert found.stderr.count("declares 0x0") == 3
    assert "13 more of the same kind, 16 in all" in found.stderr
    assert "every image is read in color; 8 like this in all\n" in found.stderr  # noted only, in one line
    assert found.stderr.count("  noted: ") == 2


def test_stats_are_written_as_json(data: Path) -> None:
    found = run("stats", data / "heads", "--json", "-")
    tree: dict[str, Any] = json.loads(found.stdout)
    assert tree["splits"]["val"]["per_class"] == {"head": 2501}
    assert tree["splits"]["train"]["boxes_per_image"] == {"least": 0, "median": 14, "most": 116}
    assert {key: tree["problems"][key] for key in ("skipped", "repaired", "noted")} == {
        "skipped": 2,
        "repaired": 16,
        "noted": 9,
    }
    assert len(tree["problems"]["list"]) == 27


def test_sound_data_exits_with_0(data: Path) -> None:
    assert run("stats", data / "voc_sample").exit_code == 0


def test_anchors_of_the_data_and_the_model_are_compared(data: Path) -> None:
    found = run("anchors", data / "bccd", "--model", "yolov3-tiny", "--size", "320x416", "--json", "-")
    tree = json.loads(found.stdout)
    assert (tree["size"], tree["boxes"], len(tree["data"]["anchors"])) == ([320, 416], 2804, 6)
    assert tree["official"]["anchors"][0] == [10, 14]
    assert tree["official"]["mean_best_iou"] == pytest.approx(0.6921, abs=1e-4)
    assert tree["official"]["best_possible_recall"] == pytest.approx(0.9775, abs=1e-4)
    assert tree["data"]["mean_best_iou"] == pytest.approx(0.857, abs=2e-3)
    assert tree["data"]["best_possible_recall"] > 0.99
    assert "split train" in found.stderr


def test_anchors_are_printed_as_a_table(data: Path) -> None:
    found = run("anchors", data / "voc_sample", "--model", "yolov3")
    assert "373x326" in found.stdout
    assert "for a .cfg: anchors = " in found.stdout
    assert found.exit_code == 0


@pytest.mark.parametrize("form", ["coco", "voc", "yolo", "lines"])
def test_convert_keeps_every_box(data: Path, tmp_path: Path, form: str) -> None:
    found = run("convert", data / "voc_sample", "--to", form, "--out", tmp_path / "out")
    assert found.exit_code == 0
    assert f"written as {form}: " in found.stderr
    again = json.loads(run("stats", tmp_path / "out", "--json", "-").stdout)
    assert {split: each["boxes"] for split, each in again["splits"].items()} == {"train": 216, "val": 57}


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("stats no-such-folder", "no-such-folder: expected annotations, found no such file or folder"),
        ("anchors {data}/bccd --model yolov4", "--model: expected yolov3, yolov3-spp, yolov3-tiny"),
        ("anchors {data}/bccd --size 100", "--size: expected a size like 416 or 320x416"),
        ("stats {heads} --strict", "PartA_01003.xml: object 46: [693, 84, 693, 84] has no area"),
        ("convert {data}/bccd --to kitti --out {tmp}/x", "--to: expected one of coco, voc, yolo"),
        ("convert {data}/bccd --to coco --out {data}/photos", "expected a new or empty folder"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    what: str,
) -> None:
    heads = data / "heads" if "{heads}" in words else None
    typed = words.format(data=data, heads=heads, tmp=tmp_path).split()
    monkeypatch.setattr("sys.argv", ["lookonce", "data", *typed])
    with pytest.raises(SystemExit) as left:
        main()
    last = capsys.readouterr().err.splitlines()[-1]
    assert left.value.code == 2
    assert last.startswith("lookonce: ")
    assert what in last


def test_anchors_need_boxes(tmp_path: Path, data: Path) -> None:
    (tmp_path / "classes.txt").write_text("dog\n")
    (tmp_path / "a.txt").write_text(f"{data / 'photos' / 'dog.jpg'}\n")
    with pytest.raises(AnnotationError, match=r"a\.txt: expected boxes to fit anchors to, found none"):
        run("anchors", tmp_path / "a.txt")


def test_convert_merges_renames_and_drops_classes(data: Path, tmp_path: Path) -> None:
    before = load_samples(data / "bccd", "val")
    classes = ["--classes", "RBC=cell", "--classes", "WBC=cell", "--classes", "Platelets="]
    found = run("convert", data / "bccd", "--to", "coco", "--out", tmp_path / "out", *classes)
    after = load_samples(tmp_path / "out", "val")
    assert after.names == ("cell",)
    assert len(after.samples) == len(before.samples)
    left = sum(int((sample.labels != before.names.index("Platelets")).sum()) for sample in before.samples)
    assert sum(len(sample.labels) for sample in after.samples) == left > 100
    assert "boxes, dropped" in found.stderr


@pytest.mark.parametrize(
    ("classes", "what"),
    [("RBC", "RBC: expected OLD=NEW"), ("RCB=cell", "--classes RCB: expected one of Platelets, RBC, WBC")],
)
def test_convert_refuses_unknown_classes(data: Path, tmp_path: Path, classes: str, what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        run("convert", data / "bccd", "--to", "coco", "--out", tmp_path / "out", "--classes", classes)
    assert not (tmp_path / "out").exists()


def test_many_kinds_of_problems_are_counted(tmp_path: Path) -> None:
    """In a file of another kind, every line is wrong in a different way."""
    write_image(tmp_path / "images" / "a.png", np.zeros((64, 64, 3), np.uint8))
    (tmp_path / "labels").mkdir()
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [first + second for first in letters for second in letters]
    (tmp_path / "labels" / "a.txt").write_text("".join(f"0 0.5 0.5 0.3 {each}'s\n" for each in words))
    (tmp_path / "classes.txt").write_text("cat\n")

    found = run("convert", tmp_path, "--to", "coco", "--out", tmp_path / "new")

    assert "677 skipped" in found.stderr
    assert "more of" in found.stderr
    assert len(found.stderr.splitlines()) < 100
