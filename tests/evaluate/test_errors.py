"""Test every type of error on examples, and compare with COCO's AP and with TIDE's own program."""

from dataclasses import replace

import numpy as np
import pytest

from lookonce.detections import Detections
from lookonce.evaluate import oracles
from lookonce.evaluate.coco import ALL, IOU_50, _accumulated
from lookonce.evaluate.errors import ERRORS, FALSE, Outcome, Outcomes, find_outcomes
from lookonce.evaluate.oracles import ap_repaired, average_precision, costs
from lookonce.samples import Sample

from .conftest import Case, found, random_case, sample

NAMES = ("cat", "dog")
BOX = [0, 0, 40, 40]
NEAR = [0, 0, 40, 36]  # IoU 0.90 with BOX
LOOSE = [0, 0, 40, 12]  # 0.30
TOUCHING = [0, 0, 40, 3]  # 0.075
FAR = [100, 100, 140, 140]
CAT, DOG = 0, 1
CORRECT, CLS, LOC, BOTH, DUPLICATE, BACKGROUND, MISSED, IGNORED = Outcome

# tidecv 1.0.1 (MIT) on the 452 detections of voc_sample, IoU 0.5 and 0.1, any number of detections an image:
# TIDE().evaluate(truth, detections), then get_main_errors() and get_special_errors(), in AP points.
TIDE_AP50 = 61.00296805
TIDE_COSTS = {
    CLS: 2.45573568,
    LOC: 6.14340887,
    BOTH: 4.62400018,
    DUPLICATE: 0.00468024,
    BACKGROUND: 10.91069555,
    MISSED: 7.57695482,
}
TIDE_COUNTS = {CLS: 3, LOC: 33, BOTH: 22, DUPLICATE: 2, BACKGROUND: 166, MISSED: 35}
TIDE_FALSE_POSITIVES, TIDE_FALSE_NEGATIVES = 20.53168541, 12.30407636


def one(truth: Sample, result: Detections) -> Outcomes:
    return find_outcomes([truth], [result], NAMES)


def without_ties(case: Case) -> Case:
    """Make all scores different, so that no order is due to chance."""
    truth, detections, names = case
    rng = np.random.default_rng(0)
    scored = [replace(each, scores=np.sort(rng.random(len(each), np.float32))[::-1]) for each in detections]
    return truth, scored, names


@pytest.mark.parametrize(
    ("truth", "result", "expected", "missed"),
    [
        (sample([]), found([], []), [], 0),
        (sample([BOX]), found([], []), [], 1),
        (sample([]), found([BOX], [0.9]), [BACKGROUND], 0),
        (sample([BOX]), found([NEAR], [0.9]), [CORRECT], 0),
        (sample([BOX]), found([FAR], [0.9]), [BACKGROUND], 1),
        (sample([BOX]), found([TOUCHING], [0.9]), [BACKGROUND], 1),
        (sample([BOX]), found([NEAR], [0.9], [DOG]), [CLS], 0),
        (sample([BOX]), found([LOOSE], [0.9]), [LOC], 0),
        (sample([BOX]), found([LOOSE], [0.9], [DOG]), [BOTH], 1),
        (sample([BOX]), found([TOUCHING], [0.9], [DOG]), [BACKGROUND], 1),
        (sample([BOX]), found([BOX, NEAR], [0.9, 0.6]), [CORRECT, DUPLICATE], 0),
        # by descending score, in any input order
        (sample([BOX]), found([BOX, NEAR], [0.6, 0.9]), [DUPLICATE, CORRECT], 0),
        # one object each, although both overlap the first one most
        (sample([BOX, NEAR]), found([BOX, BOX], [0.9, 0.6]), [CORRECT, CORRECT], 0),
        # an object that an error refers to is not missed, whether or not it has a correct detection as well
        (sample([BOX]), found([LOOSE, BOX], [0.9, 0.6]), [LOC, CORRECT], 0),
        # where two definitions hold: localization before classification before duplicate
        (sample([LOOSE, BOX], [CAT, DOG]), found([BOX], [0.9], [CAT]), [LOC], 1),
        (sample([BOX, NEAR], [CAT, DOG]), found([BOX, NEAR], [0.9, 0.8], [CAT, CAT]), [CORRECT, CLS], 0),
        # difficult: one detection is ignored, a second is a duplicate; it is never missed
        (sample([BOX], difficult=[True]), found([BOX, NEAR], [0.9, 0.8]), [IGNORED, DUPLICATE], 0),
        (sample([BOX], difficult=[True]), found([LOOSE], [0.9]), [LOC], 0),
        (sample([BOX, NEAR], difficult=[True, False]), found([BOX], [0.9]), [CORRECT], 0),
        (sample([BOX], crowd=[True]), found([BOX, NEAR], [0.9, 0.8]), [IGNORED, IGNORED], 0),
        (sample([BOX], crowd=[True]), found([BOX], [0.9], [DOG]), [BACKGROUND], 0),
    ],
)  # fmt: skip
def test_outcomes_match_hand_computed_cases(
    truth: Sample, result: Detections, expected: list[Outcome], missed: int
) -> None:
    outcomes = one(truth, result)

    assert [Outcome(each) for each in outcomes.outcome] == expected
    assert outcomes.count(MISSED) == missed


def test_an_iou_at_a_threshold_gets_the_better_outcome() -> None:
    half, tenth = [0, 0, 40, 20], [0, 0, 40, 4]

    outcomes = one(sample([BOX]), found([tenth, half], [0.9, 0.8]))

    assert [Outcome(each) for each in outcomes.outcome] == [LOC, CORRECT]


def test_objects_are_numbered_across_images() -> None:
    truth = [sample([BOX, FAR]), sample([]), sample([FAR, BOX], [CAT, DOG])]
    results = [found([BOX], [0.9]), found([BOX], [0.8]), found([BOX, FAR], [0.7, 0.6], [CAT, CAT])]

    outcomes = find_outcomes(truth, results, NAMES)

    assert outcomes.image.tolist() == [0, 1, 2, 2]
    assert outcomes.object.tolist() == [0, -1, 3, 2]
    assert [Outcome(each) for each in outcomes.outcome] == [CORRECT, BACKGROUND, CLS, CORRECT]
    assert outcomes.missed().tolist() == [False, True, False, False]


def test_above_equals_matching_only_detections_above_the_threshold() -> None:
    truth, detections, names = random_case(3, 20, 3, 12)

    outcomes = find_outcomes(truth, detections, names).above(0.5)

    anew = find_outcomes(truth, [each[each.scores > 0.5] for each in detections], names)
    assert outcomes.outcome.tolist() == anew.outcome.tolist()
    assert outcomes.missed().tolist() == anew.missed().tolist()


def test_each_detection_has_one_outcome_and_each_object_one_correct_detection() -> None:
    case = random_case(4, 40, 4, 12)

    outcomes = find_outcomes(*case)

    counted = sum(outcomes.count(outcome) for outcome in (*FALSE, CORRECT, IGNORED))
    assert counted == sum(map(len, case[1]))
    right = outcomes.object[outcomes.has(CORRECT)]
    assert len(right) == len(np.unique(right)) > 50


@pytest.mark.parametrize("seed", range(4))
def test_ap50_equals_uncapped_coco(seed: int) -> None:
    case = without_ties(random_case(seed, 30, 4, 15))

    precision, _ = _accumulated(*case)

    expected = precision[IOU_50, :, :, ALL, -1].mean(axis=0)
    np.testing.assert_allclose(costs(find_outcomes(*case)).ap50, expected, atol=1e-9)


def test_costs_match_tide(voc_sample: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    # COCO's recall levels, np.linspace(0, 1, 101), differ from tidecv's by an ulp, which moves one level here
    monkeypatch.setattr(oracles, "RECALLS", np.arange(101) / 100)
    outcomes = find_outcomes(*voc_sample)

    found = costs(outcomes)

    assert 100 * found.ap50.mean() == pytest.approx(TIDE_AP50, abs=1e-6)
    assert {error: outcomes.count(error) for error in ERRORS} == TIDE_COUNTS
    for error, cost in TIDE_COSTS.items():
        assert 100 * found.of[error].mean() == pytest.approx(cost, abs=1e-6), error
    assert 100 * found.false_positives.mean() == pytest.approx(TIDE_FALSE_POSITIVES, abs=1e-6)
    assert 100 * found.false_negatives.mean() == pytest.approx(TIDE_FALSE_NEGATIVES, abs=1e-6)


@pytest.mark.parametrize(
    ("truth", "result", "error", "before", "after"),
    [
        # the wrong class on the second cat: with its class, both are found
        (sample([BOX, FAR]), found([BOX, FAR], [0.9, 0.8], [CAT, DOG]), CLS, 51 / 101, 1),
        (sample([BOX, FAR]), found([BOX, [100, 100, 140, 112]], [0.9, 0.8]), LOC, 51 / 101, 1),
        # a false detection above the right one halves precision
        (sample([BOX]), found([LOOSE, BOX], [0.9, 0.8], [CAT, CAT]), LOC, 0.5, 1),
        (sample([BOX]), found([FAR, BOX], [0.9, 0.8]), BACKGROUND, 0.5, 1),
        (sample([BOX, FAR]), found([BOX, NEAR, FAR], [0.9, 0.8, 0.7]), DUPLICATE, (51 + 50 * 2 / 3) / 101, 1),
        (sample([BOX, FAR]), found([BOX], [0.9]), MISSED, 51 / 101, 1),
        # without objects, AP is 1 without detections, else 0
        (sample([BOX]), found([], []), MISSED, 0, 1),
        (sample([BOX]), found([FAR], [0.9]), MISSED, 0, 0),
        # of two wrong classes on one object, the better is repaired and the other goes
        (sample([BOX]), found([BOX, NEAR], [0.9, 0.8], [DOG, DOG]), CLS, 0, 1),
        # an error on a difficult object goes
        (sample([BOX, FAR], difficult=[True, False]), found([LOOSE, FAR], [0.9, 0.8]), LOC, 0.5, 1),
    ],
)  # fmt: skip
def test_each_oracle_matches_hand_computed_ap(
    truth: Sample, result: Detections, error: Outcome, before: float, after: float
) -> None:
    outcomes = one(truth, result)

    assert ap_repaired(outcomes, ())[CAT] == pytest.approx(before)
    assert ap_repaired(outcomes, (error,))[CAT] == pytest.approx(after)
    for other in set(ERRORS) - {error}:
        assert ap_repaired(outcomes, (other,))[CAT] <= max(before, after) + 1e-9


def test_repairing_both_removes_the_detection() -> None:
    truth = sample([BOX, FAR], [CAT, DOG])

    outcomes = one(truth, found([[100, 100, 140, 112], BOX], [0.9, 0.8], [CAT, CAT]))

    assert outcomes.count(BOTH) == 1
    assert costs(outcomes).of[BOTH].tolist() == pytest.approx([0.5, 0])


def test_a_found_object_keeps_its_detection() -> None:
    outcomes = one(sample([BOX]), found([NEAR, FAR, BOX], [0.9, 0.8, 0.7], [DOG, CAT, CAT]))

    # the repaired wrong class does not replace the correct detection, or AP would be 1
    assert ap_repaired(outcomes, (CLS,))[CAT] == pytest.approx(0.5)


@pytest.mark.parametrize("seed", range(5))
def test_repairing_all_errors_gives_ap_1(seed: int) -> None:
    outcomes = find_outcomes(*random_case(seed, 30, 4, 10))

    assert ap_repaired(outcomes, ()).max() < 0.95
    np.testing.assert_allclose(ap_repaired(outcomes, ERRORS), 1)


def test_no_repair_gains_more_than_is_missing() -> None:
    case = costs(find_outcomes(*random_case(8, 30, 3, 10)))

    for gained in (*case.of.values(), case.false_positives, case.false_negatives):
        assert (case.ap50 + gained <= 1 + 1e-9).all()
        assert (gained > -0.01).all()  # levels of recall may shift by a little


def test_a_class_without_objects_has_no_ap() -> None:
    case = costs(one(sample([BOX]), found([BOX, FAR], [0.9, 0.8], [CAT, DOG])))

    assert case.ap50[CAT] == 1
    assert np.isnan(case.ap50[DOG])
    assert np.isnan(case.of[BACKGROUND][DOG])


def test_no_images_have_no_ap() -> None:
    case = costs(find_outcomes([], [], NAMES))

    assert np.isnan(case.ap50).all()
    assert average_precision(np.zeros(0, bool), 3) == 0
