"""Images of the report, with ground truth and detections side by side."""

import base64
import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest

from lookonce.detections import Detections
from lookonce.evaluate.errors import ERRORS, Outcome, Outcomes, find_outcomes
from lookonce.evaluate.worst import ImageErrors
from lookonce.images import write_image
from lookonce.report import gallery
from lookonce.report.gallery import COLORS, detection_marks, gallery_image, object_marks
from lookonce.samples import Sample

BOX, FAR, AWAY = [0, 0, 40, 40], [100, 100, 140, 140], [200, 200, 240, 240]
NAMES = ("cat", "dog")
APART = 20  # distance in CIE L*a*b* at which two colors are easily distinguished


def outcomes_of(names: tuple[str, ...] = NAMES) -> Outcomes:
    """Return outcomes: a found cat, a cat with a loose box, a missed dog, and a dog on the background."""
    truth = Sample(Path("a.png"), np.array([BOX, FAR, AWAY], np.float32), np.array([0, 0, len(names) - 1]))
    boxes = np.array([BOX, [100, 100, 140, 112], [300, 300, 340, 340]], np.float32)
    labels = np.array([0, 0, len(names) - 1])
    found = Detections(boxes, np.array([0.9, 0.8, 0.7], np.float32), labels)
    return find_outcomes([truth], [found], names)


def test_detections_have_the_colors_of_their_outcomes_false_ones_first() -> None:
    marks = detection_marks(outcomes_of(), 0, NAMES)

    assert [(mark.name, mark.suffix) for mark in marks] == [("cat", "0.80"), ("dog", "0.70"), ("cat", "0.90")]
    outcomes = (Outcome.LOCALIZATION, Outcome.BACKGROUND, Outcome.CORRECT)
    assert [mark.color for mark in marks] == [COLORS[outcome] for outcome in outcomes]
    assert not any(mark.dashed for mark in marks)


def test_unmatched_objects_are_dashed_and_come_first() -> None:
    marks = object_marks(outcomes_of(), 0, NAMES)

    assert [(mark.name, mark.dashed) for mark in marks] == [("dog", True), ("cat", True), ("cat", False)]
    outcomes = (Outcome.MISSED, Outcome.CORRECT, Outcome.CORRECT)
    assert [mark.color for mark in marks] == [COLORS[outcome] for outcome in outcomes]


def test_a_single_class_is_not_named_on_every_box() -> None:
    outcomes = outcomes_of(("head",))
    assert {mark.name for mark in object_marks(outcomes, 0, ("head",))} == {""}
    marks = detection_marks(outcomes, 0, ("head",))
    assert [(mark.name, mark.suffix) for mark in marks] == [("", "0.80"), ("", "0.70"), ("", "0.90")]


def test_the_number_of_boxes_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "MOST_MARKS", 1)
    outcomes = outcomes_of()
    assert len(object_marks(outcomes, 0, NAMES)) == len(detection_marks(outcomes, 0, NAMES)) == 1


def test_deep_images_are_shown_in_the_range_of_the_model(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1000, 400 * 400).reshape(400, 400, 1).repeat(3, axis=2).astype(np.uint16)
    write_image(tmp_path / "a.png", ramp)
    chosen, outcomes = ImageErrors(0, {}), outcomes_of()
    own, model = (
        gallery_image(chosen, tmp_path / "a.png", outcomes, NAMES, values=values).truth
        for values in (None, (0, 65_535))
    )
    means = [
        cv2.imdecode(np.frombuffer(base64.b64decode(each.split(",")[1]), np.uint8), 0).mean()
        for each in (own, model)
    ]
    assert means[0] > 100
    assert means[1] < 60  # black except for the boxes


def test_ground_truth_and_detections_are_drawn_on_the_image(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.full((400, 400, 3), 128, np.uint8))

    drawn = gallery_image(ImageErrors(0, {Outcome.MISSED: 1}), tmp_path / "a.png", outcomes_of(), NAMES)

    assert (drawn.name, drawn.errors) == ("a.png", {Outcome.MISSED: 1})
    assert drawn.truth != drawn.found
    assert drawn.truth.startswith("data:image/jpeg;base64,")


def test_outcome_colors_differ_for_the_color_blind_too() -> None:
    assert set(COLORS) == {Outcome.CORRECT, *ERRORS}
    for seen in (np.eye(3), DEUTERANOPIA):
        pairs = itertools.combinations([lab(color, seen) for color in COLORS.values()], 2)
        assert min(np.linalg.norm(one - other) for one, other in pairs) > APART


# Vienot, Brettel, Mollon 1999, in linear RGB
DEUTERANOPIA = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])


def lab(color: tuple[int, int, int], seen: np.ndarray) -> np.ndarray:
    srgb = np.array(color) / 255
    linear = seen @ np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = linear.clip(0, 1)
    again = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return cv2.cvtColor(again.astype(np.float32)[None, None], cv2.COLOR_RGB2LAB)[0, 0]
