"""Test the corrected copy: defects are corrected, it is written atomically, and the original is untouched."""

import csv
import hashlib
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookonce._files import UNFINISHED
from lookonce._outputs import is_vacant
from lookonce.annotations import load_splits, write_samples
from lookonce.doctor.diagnose import Diagnosis, diagnose
from lookonce.doctor.fix import write_fixed
from lookonce.doctor.kinds import KINDS
from lookonce.errors import AnnotationError
from lookonce.images import read_image, read_native

from .conftest import NETWORK
from .faults import Voc

FIXABLE = {key for key, kind in KINDS.items() if kind.fixable}


def files(folder: Path) -> dict[str, str]:
    """Return every file with the hash of its content."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha1(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def changes(folder: Path) -> list[dict[str, str]]:
    with (folder / "changes.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def fixed(diagnosis: Diagnosis, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fixed(diagnosis, tmp_path_factory.mktemp("fixed") / "out").data


def test_nothing_fixable_is_left(fixed: Path) -> None:
    found = diagnose(load_splits(fixed), NETWORK)
    assert FIXABLE & found.by_kind().keys() == set()


def test_whatever_is_not_fixed_is_listed(fixed: Path, diagnosis: Diagnosis) -> None:
    told = changes(fixed)
    for finding in diagnosis.findings:
        kind = KINDS[finding.kind]
        lines = [line for line in told if (line["kind"], line["place"]) == (finding.kind, finding.place)]
        assert len(lines) == (kind.fixable or kind.severity == "person"), finding
        if lines and kind.fixable:
            assert lines[0]["action"] in ("changed", "removed")
        elif lines:
            assert lines[0]["action"] in ("left", "skipped")


def test_the_list_matches_what_was_done(fixed: Path) -> None:
    told = {line["kind"]: line for line in changes(fixed)}
    assert told["suffix"]["after"] == "JPEGImages/really-png.png"
    actions = {kind: line["action"] for kind, line in told.items()}
    assert (actions["leak"], actions["class-not-trained"], actions["wrong-size"]) == (
        "left",
        "left",
        "skipped",
    )
    assert (actions["missing"], actions["class"], actions["outside"]) == ("skipped", "skipped", "skipped")
    assert told["inverted"]["before"].startswith("[200, 60, 150, 100]")
    train = {sample.path.name: sample for sample in load_splits(fixed)["train"].samples}
    assert train["inverted.jpg"].boxes.tolist() == [[40, 30, 140, 120], [150, 60, 200, 100]]
    assert train["inverted.jpg"].labels.tolist() == [0, 0]
    assert train["over.jpg"].boxes[1].tolist() == [200, 60, 240, 100]
    assert len(train["twice.jpg"].labels) == 1
    assert len(train["both.jpg"].labels) == 2  # a person must decide which one is correct
    assert "same-1.jpg" in train
    assert "same-2.jpg" not in train
    assert {"leak-1.jpg", "other-1.jpg", "other-2.jpg", "anew-2.jpg"} <= train.keys()
    assert "leak-2.jpg" in [sample.path.name for sample in load_splits(fixed)["val"].samples]


def test_an_inverted_box_beyond_repair_is_skipped(tmp_path: Path) -> None:
    voc = Voc(tmp_path / "voc")
    rows = [("cat", 10, 10, 90, 90), ("cat", 400, 60, 300, 100), ("cat", 300, 60, 200, 100)]
    voc.add("a.jpg", rows)
    write_fixed(diagnose(load_splits(voc.finish()), NETWORK), tmp_path / "out")
    actions = [line["action"] for line in changes(tmp_path / "out") if line["kind"] == "inverted"]
    assert sorted(actions) == ["changed", "skipped"]
    (sample,) = load_splits(tmp_path / "out")["train"].samples
    assert sample.boxes.tolist() == [[10, 10, 90, 90], [200, 60, 240, 100]]


def test_fixed_images_look_the_same(faulty: Path, fixed: Path) -> None:
    before, after = faulty / "JPEGImages", fixed / "JPEGImages"
    assert (before / "sound.jpg").read_bytes() == (after / "sound.jpg").read_bytes()
    for name, shift in (("turned.jpg", 3), ("ink.jpg", 3), ("deep.png", 0), ("clear.png", 0)):
        difference = read_image(before / name).astype(int) - read_image(after / name)
        assert np.abs(difference).mean() <= shift, name
    with Image.open(after / "turned.jpg") as turned, Image.open(after / "ink.jpg") as ink:
        assert turned.size == (240, 180)
        assert ink.mode == "RGB"


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_deep_images_keep_their_bits(tmp_path: Path, suffix: str, orientation: int) -> None:
    voc = Voc(tmp_path / "voc")
    numbers = (np.arange(240 * 180) % 4096).astype(np.uint16).reshape(180, 240)
    exif = Image.Exif()
    exif[274] = orientation
    saved = tmp_path / f"a{suffix}"
    if suffix == ".tif":
        Image.fromarray(numbers).save(saved, tiffinfo={274: orientation})
    else:
        Image.fromarray(numbers).save(saved, exif=exif)
    voc.add(f"deep{suffix}", content=saved.read_bytes(), size=(0, 0, 3))
    write_fixed(diagnose(load_splits(voc.finish()), NETWORK), tmp_path / "out")
    found = read_native(next((tmp_path / "out" / "JPEGImages").iterdir()))
    expected = numbers if orientation == 1 else np.rot90(numbers, -1)
    np.testing.assert_array_equal(found, np.dstack([expected] * 3))


def test_the_original_is_untouched_and_the_copy_is_reproducible(
    faulty: Path, diagnosis: Diagnosis, tmp_path: Path
) -> None:
    before = files(faulty)
    write_fixed(diagnosis, tmp_path / "a" / "out")
    write_fixed(diagnosis, tmp_path / "b" / "out")
    assert files(faulty) == before
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_the_copy_can_be_moved(diagnosis: Diagnosis, tmp_path: Path) -> None:
    write_fixed(diagnosis, tmp_path / "out")
    shutil.move(tmp_path / "out", tmp_path / "elsewhere")
    found = load_splits(tmp_path / "elsewhere")
    assert not any(sample.path.is_symlink() for sample in found["train"].samples)
    assert diagnose(found, NETWORK).by_kind().get("missing") is None


@pytest.mark.parametrize(
    "form", ["coco", "voc", "yolo", "lines", "darknet", "cvat", "labelme", "labelstudio"]
)
def test_the_format_is_kept(tmp_path: Path, form: str) -> None:
    voc = Voc(tmp_path / "voc")
    voc.add("a b.jpg", [("cat", 40, 30, 140, 120), ("cat", 41, 30, 140, 120), ("dog", 10, 20, 60, 70)])
    voc.add("b.jpg", [("dog", 40, 30, 140, 120)], split="val")
    data, _ = write_samples(load_splits(voc.finish()), form, tmp_path / "in")
    written = write_fixed(diagnose(load_splits(data), NETWORK), tmp_path / "out")
    again = load_splits(written.data)
    assert again["train"].format == {"darknet": "yolo"}.get(form, form)
    assert not [p for each in again.values() for p in each.problems if p.kind != "unlabeled"]
    assert [sample.labels.tolist() for found in again.values() for sample in found.samples] == [[0, 1], [1]]
    assert all(sample.path.is_relative_to(tmp_path / "out") for sample in again["train"].samples)
    assert (written.changes, written.left) == (1, 0)


def test_splits_in_several_formats_become_voc(tmp_path: Path) -> None:
    voc = Voc(tmp_path / "voc")
    voc.add("a.jpg", [("cat", 40, 30, 140, 120)])
    voc.add("b.jpg", [("dog", 40, 30, 140, 120), ("cat", 10, 20, 60, 70)], split="val")
    found = load_splits(voc.finish())
    of = {form: load_splits(write_samples(found, form, tmp_path / form)[0]) for form in ("coco", "yolo")}
    for train, val in (("coco", "yolo"), ("yolo", "coco")):
        mixed = {
            "train": of[train]["train"],
            "val": of[val]["val"],
        }
        written = write_fixed(diagnose(mixed, NETWORK), tmp_path / f"out-{train}")
        again = load_splits(written.data)
        assert {each.format for each in again.values()} == {"voc"}
        names = {
            split: [each.names[label] for s in each.samples for label in s.labels]
            for split, each in again.items()
        }
        assert names == {"train": ["cat"], "val": ["dog", "cat"]}


def test_what_the_format_cannot_store_is_listed(tmp_path: Path) -> None:
    voc = Voc(tmp_path / "voc")
    voc.add("a.jpg", [("cat", 40, 30, 140, 120), ("dog", 10, 20, 60, 70)])
    write_samples(load_splits(voc.finish()), "yolo", tmp_path / "in")
    text = "names: [cat, dog]\nignore: [dog]\ntrain: in/train.txt\n"
    (tmp_path / "set.yaml").write_text(text)
    sets = load_splits(tmp_path / "set.yaml")
    crowd = replace(sets["train"].samples[0], crowd=np.ones(1, bool))
    for samples in (sets["train"].samples, [crowd]):
        found = {"train": replace(sets["train"], samples=samples)}
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        written = write_fixed(diagnose(found, NETWORK), out)
        told = [line["before"] for line in changes(out) if line["kind"] == "format"]
        assert told[0] == "1 ignored area dropped: yolo has no place for it"
        assert told[1:] == (["1 crowd boxes are dropped"] if samples == [crowd] else [])
        assert written.left >= len(told)


def test_a_folder_with_files_is_refused(diagnosis: Diagnosis, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(AnnotationError, match="expected a new or empty folder, found files"):
        write_fixed(diagnosis, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_error_leaves_nothing(
    diagnosis: Diagnosis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", fail)
    with pytest.raises(AnnotationError, match="No space left on device"):
        write_fixed(diagnosis, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_run_leaves_a_folder_marked_unfinished(
    faulty: Path, diagnosis: Diagnosis, tmp_path: Path
) -> None:
    script = """
import os, shutil, sys
from pathlib import Path
from lookonce.doctor.diagnose import diagnose
from lookonce.doctor.fix import write_fixed
from lookonce.doctor.planned_network import PlannedNetwork
from lookonce.annotations import load_splits

whole, count = shutil.copyfile, 0
def copy(*names):
    global count
    count += 1
    os._exit(9) if count == 10 else whole(*names)

shutil.copyfile = copy
found = diagnose(load_splits(Path(sys.argv[1])), PlannedNetwork.published("yolov3-tiny", (416, 416)))
write_fixed(found, Path(sys.argv[2]))
"""
    out = tmp_path / "out"
    ran = subprocess.run([sys.executable, "-c", script, faulty, out], check=False, capture_output=True)
    assert ran.returncode == 9
    assert is_vacant(out)
    assert [path.name for path in out.iterdir()] == [UNFINISHED]
    write_fixed(diagnosis, out)
    assert UNFINISHED not in [path.name for path in out.iterdir()]
