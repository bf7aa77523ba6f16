"""The summary: its numbers, and the advice at its end."""

from typing import Any

import pytest

from lookonce.evaluate.error_report import error_report
from lookonce.evaluate.report import evaluate_detections
from lookonce.report.figures import Subject, figures
from tests.evaluate.conftest import Case, found, sample

BOX, FAR, AWAY = [0, 0, 40, 40], [100, 100, 140, 140], [200, 200, 240, 240]


def summary_of(case: Case) -> dict[str, Any]:
    evaluation = evaluate_detections(*case)
    images = [str(each.path) for each in case[0]]
    tree = figures(evaluation, error_report(case[0], case[1], evaluation), images, Subject({}))
    return tree["summary"]


@pytest.mark.parametrize(
    ("case", "text"),
    [
        (
            ([sample([])], [found([], [])], ("cat",)),
            "1 image, no annotated object: nothing can be measured.",
        ),
        (
            ([sample([BOX])], [found([], [])], ("cat",)),
            "Misses the only object: train longer, or check the data.",
        ),
        (
            ([sample([BOX, FAR])], [found([BOX], [0.9])], ("cat",)),
            "Finds 1 of 2 objects; 1 of 1 box is correct; counts are 50% low overall and off by 1.0 per "
            "image; use threshold 0.45; more images of the objects, or a larger --size would help most.",
        ),
        (
            ([sample([BOX])] * 120, [found([BOX], [0.8])] * 120, ("cat",)),
            "Finds 100 of 100 objects; 100 of 100 boxes are correct; counts are correct overall and off by "
            "0.0 per image; use threshold 0.40; no class stands out as weak.",
        ),
    ],
)
def test_the_sentence_names_the_main_problem(case: Case, text: str) -> None:
    assert summary_of(case)["text"] == text


def test_the_sentence_says_if_thresholds_were_chosen_on_these_images() -> None:
    case = [sample([BOX])] * 4, [found([BOX], [0.8])] * 4, ("cat",)
    evaluation = evaluate_detections(*case, thresholds=[0.5])
    report, images = error_report(case[0], case[1], evaluation), [str(each.path) for each in case[0]]
    said = {
        count: figures(evaluation, report, images, Subject({"validated_on": count}))["summary"]["text"]
        for count in (0, 4)
    }
    assert "correct; counts are correct overall" in said[0]
    assert "correct; counts, at thresholds chosen on these images, are correct overall" in said[4]


def test_the_numbers_of_the_sentence_match_hand_counts() -> None:
    """Two of three cats are found, and one of three detections is on the background."""
    truth, boxes = [sample([BOX, FAR]), sample([BOX])], [found([BOX, AWAY], [0.9, 0.8]), found([BOX], [0.7])]

    numbers = summary_of((truth, boxes, ("cat",)))

    assert (numbers["objects"], numbers["found"], numbers["detections"]) == (3, 2, 3)
    # each half is counted at the threshold of the other half: one of three is not counted
    assert numbers["count_error"] == pytest.approx(-1 / 3)


def test_a_rare_weak_class_needs_images() -> None:
    truth = [sample([BOX, FAR, AWAY], [0, 0, 1])] * 4
    boxes = [found([BOX, FAR], [0.9, 0.8])] * 4

    numbers = summary_of((truth, boxes, ("cat", "dog")))

    assert numbers["weakest_class"] == "dog"
    assert numbers["text"].endswith("more images of class dog would help most.")


def test_advice_for_a_weak_common_class_follows_its_errors() -> None:
    loose = [200, 200, 240, 212]
    truth, boxes = [sample([BOX, AWAY], [0, 1])] * 4, [found([BOX, loose], [0.9, 0.8], [0, 1])] * 4

    assert summary_of((truth, boxes, ("cat", "dog")))["text"].endswith(
        "tighter boxes around class dog would help most."
    )
