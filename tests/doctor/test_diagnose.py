"""Test that every kind of defect, made deliberately, is found once, and what is found in real data sets."""

import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from lookonce.annotations import load_splits
from lookonce.doctor.classes import class_findings
from lookonce.doctor.diagnose import Diagnosis, diagnose, images_of
from lookonce.doctor.kinds import KINDS
from lookonce.samples import ProblemKind, Sample, SampleSet

from .conftest import NETWORK
from .faults import EXPECTED, Voc, drawn

NEED_A_MODEL = {"doubtful-class", "missing-box", "unfound-box"}


def counts(found: Diagnosis) -> dict[str, int]:
    return {kind: len(findings) for kind, findings in found.by_kind().items()}


def whats(found: Diagnosis, kind: str) -> list[str]:
    return [f"{Path(finding.place).name}: {finding.what}" for finding in found.by_kind()[kind]]


def test_a_sound_set_has_no_findings(tmp_path: Path) -> None:
    voc = Voc(tmp_path / "voc")
    for number in range(60):  # enough for a class not to be rare
        voc.add(f"{number}.jpg", [("cat", 40, 30, 140, 120)], content=drawn(number))
    found = diagnose(load_splits(voc.finish(["cat"])), NETWORK)
    assert found.findings == ()
    assert not found.needs_person


def test_a_set_without_images_gets_no_advice() -> None:
    found = diagnose({"train": SampleSet(("cat",), [], [], "voc")}, NETWORK)
    assert counts(found) == {"rare": 1}
    assert found.advice.size_reason == "no boxes, so no advice"


def test_every_kind_is_found(diagnosis: Diagnosis) -> None:
    assert counts(diagnosis) == EXPECTED
    assert diagnosis.needs_person


def test_every_kind_is_covered_by_a_test() -> None:
    of_readers = set(get_args(ProblemKind)) - {"other"}  # tried with the readers that report them
    assert set(KINDS) == {*EXPECTED, *NEED_A_MODEL, "unbalanced", *of_readers}


def test_the_most_severe_findings_come_first(diagnosis: Diagnosis) -> None:
    severities = [KINDS[finding.kind].severity for finding in diagnosis.findings]
    assert severities == sorted(severities, key=["person", "look", "info"].index)


@pytest.mark.parametrize(
    ("kind", "place", "what"),
    [
        ("missing", "no-file.xml", "No such file"),
        ("unreadable", "page.xml", "found an HTML page"),
        ("truncated", "cut-2.xml", "the file is cut short"),
        ("annotation", "broken-xml.xml", "line 1, column 12"),
        ("row", "no-number.xml:7: object 2", "four numbers"),
        ("class", "who.xml:7: object 2", "'ape'"),
        ("inverted", "inverted.xml:7: object 2", "[200, 60, 150, 100] is inverted"),
        ("empty", "empty-box.xml:7: object 2", "[50, 60, 50, 60] has no area"),
        ("border", "over.xml:7: object 2", "cut to [200, 60, 240, 100]"),
        ("duplicate-box", "twice.xml:7: object 2", "twice.xml:3: object 1"),
        ("contradiction", "both.xml:7: object 2", "'dog' on 'cat', IoU 0.98"),
        ("tiny", "tiny.xml:7: object 2", "1.7 x 34.7 pixels at 416x416"),
        ("lost", "twice.xml:3: object 1", "takes its last cell"),
        ("no-anchor", "flat.xml:3: object 1", "409.1 x 6.9 pixels"),
        ("listed-twice", "train.txt:30", "sound.jpg is listed again"),
        ("suffix", "really-png.jpg", "a PNG file named .jpg"),
        ("exif", "turned.jpg", "EXIF orientation 6: turned by 90°"),
        ("color", "ink.jpg", "JPEG in CMYK"),
        ("leak", "leak-1.jpg", "the same bytes as leak-2.jpg, in train and val"),
        ("similar-split", "scene-1.jpg", "nearly the same as scene-2.jpg, in train and val"),
        ("copies-differ", "other-1.jpg", "with different boxes or classes: 1 and 1 boxes"),
        ("copy", "anew-1.jpg", "the same image as anew-2.jpg, in train"),
        ("class-not-trained", "pig", "none in train, 1 in val"),
    ],
)
def test_a_finding_names_its_place_and_its_problem(
    diagnosis: Diagnosis, kind: str, place: str, what: str
) -> None:
    found = [finding for finding in diagnosis.by_kind()[kind] if Path(finding.place).name.startswith(place)]
    assert any(what in finding.what for finding in found), whats(diagnosis, kind)


def test_defects_in_text_formats_name_their_line(tmp_path: Path) -> None:
    """Text formats report lines."""
    voc = Voc(tmp_path / "voc")
    voc.add("a.jpg")
    voc.add("b.jpg")
    voc.finish()
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    line = "voc/JPEGImages/{} 10,10,90,90,{}\n"
    (tmp_path / "train.txt").write_text(line.format("a.jpg", 0) + line.format("b.jpg", 7))
    found = diagnose(load_splits(tmp_path / "train.txt"), NETWORK)
    assert [Path(each.place).name for each in found.by_kind()["class"]] == ["train.txt:2: box 1"]


def test_one_image_in_two_splits_is_a_leak(tmp_path: Path) -> None:
    voc = Voc(tmp_path / "voc")
    voc.add("a.jpg")
    voc.add("b.jpg", split="val")
    voc.lists["val"].append("a")
    voc.lists["trainval"] = ["a", "b"]  # is train and val again: no leak
    found = diagnose(load_splits(voc.finish()), NETWORK)
    assert whats(found, "leak") == ["a.jpg: listed in train and val"]


def test_unbalanced_classes_are_found_without_crowds() -> None:
    """Crowds are not trained on, so they do not count."""

    def found(dogs: int) -> list[str]:
        labels = np.array([0] * 600 + [1] * (dogs + 100))
        crowd = np.arange(len(labels)) >= 600 + dogs
        sample = Sample(Path("a.jpg"), np.zeros((len(labels), 4), np.float32), labels, crowd=crowd)
        sets = {"train": SampleSet(("cat", "dog"), [sample], [], "voc")}
        return [f"{each.kind}, {each.place}: {each.what}" for each in class_findings(sets, "train")]

    assert found(60) == []
    assert found(59) == ["unbalanced, dog: 59 objects in train; 'cat' has 10 times as many"]
    assert found(49) == ["rare, dog: 49 objects in train"]


def test_crowds_alone_give_no_advice(tmp_path: Path) -> None:
    image = Voc(tmp_path / "voc").add("a.jpg")
    sample = Sample(image, np.ones((1, 4), np.float32), np.array([0]), crowd=np.array([True]))
    found = diagnose({"train": SampleSet(("cat",), [sample], [], "coco")}, NETWORK)
    assert found.advice.sizes == ()


def test_every_file_is_inspected_once(faulty: Path) -> None:
    seen: list[None] = []
    sets = load_splits(faulty)
    diagnose(sets, NETWORK, lambda: seen.append(None))
    paths = images_of(sets)
    assert len(seen) == len(paths) == len(set(paths)) == 39
    assert faulty / "JPEGImages" / "cut-2.png" in paths  # the reader could not use it


def test_heads_has_its_known_findings(data: Path) -> None:
    """The findings are those that `shared/data/README.md` lists, and further ones."""
    found = diagnose(load_splits(data / "heads"), NETWORK)
    listed = {"no-size": 16, "channels": 8, "background": 1, "empty": 2}
    identical = {"identical": 4, "copies-differ": 1}
    not_listed = {"copy": 7, "similar-split": 3, "similar": 1}
    for_the_network = {"lost": 924, "no-anchor": 749, "below-stride": 6766}
    assert counts(found) == listed | identical | not_listed | for_the_network
    assert found.claims_lost == 1032
    assert "PartB_02125.jpg: the same bytes as PartB_02398.jpg" in whats(found, "copies-differ")[0]
    assert [re.sub(":.*", "", what) for what in whats(found, "copy")] == [
        "PartB_00291.jpg",
        "PartB_00912.jpg",
        "PartB_01743.jpg",
        "PartB_00453.jpg",
        "PartB_00318.jpg",
        "PartB_00218.jpg",
        "PartB_02340.jpg",
    ]
    assert found.advice.size_reason.startswith("Objects below 12 pixels: 47% at 320, 32% at 416, 15% at 608.")


def test_bccd_has_its_known_findings(data: Path) -> None:
    found = diagnose(load_splits(data / "bccd"), NETWORK)
    listed = {"empty": 2}
    not_listed = {"duplicate-box": 7, "similar-split": 1, "unbalanced": 2}
    assert counts(found) == listed | not_listed | {"lost": 7, "below-stride": 7}
    assert whats(found, "similar-split")[0].startswith(
        "BloodImage_00038.jpg: nearly the same as BloodImage_00037.jpg, in train and val"
    )
    assert "Use 320" in found.advice.size_reason


def test_voc_sample_needs_no_person(data: Path) -> None:
    found = diagnose(load_splits(data / "voc_sample"), NETWORK)
    assert not found.needs_person
