"""Compare losses and gradients with the original code, and test the deliberate differences."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lookonce.config import LossSettings
from lookonce.data.assign import Positives, assign, join
from lookonce.geometry.boxes import cxcywh_to_xyxy
from lookonce.geometry.decode import Decoding
from lookonce.train.loss import Losses, absent_terms, class_terms, compute_losses, scale_terms

STRIDES = (8, 16, 32)
PLAIN = LossSettings()
A_TENTH = -math.log(9)  # as a logit


def positives(cells: Tensor, boxes: Tensor, labels: Tensor, scale: int = 0) -> Positives[Tensor]:
    """Make positives from (P, 4) image, row, column, anchor."""
    image, row, column, anchor = cells.long().unbind(1)
    return Positives(image, torch.full_like(image, scale), row, column, anchor, boxes, labels)


def no_positives() -> Positives[Tensor]:
    return positives(torch.zeros(0, 4), torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))


def scale_losses(*given: object) -> Losses:
    return scale_terms(*given).sums()


@pytest.mark.parametrize("k", range(10))
def test_values_and_gradients_equal_the_reference(reference: Path, k: int) -> None:
    stored, targets = np.load(reference / "loss.npz"), np.load(reference / "targets.npz")
    case = json.loads((reference / "loss.json").read_text())["cases"][k]
    anchors = targets[f"anchors_{case['anchors']}_px"].tolist()
    settings = LossSettings(ignore_iou=case["iou_loss_thresh"])
    for s in range(3):
        logits = torch.from_numpy(stored[f"logits{k}_{s}"]).permute(0, 3, 1, 2).requires_grad_()
        rows = torch.from_numpy(stored[f"rows{k}_{s}"])
        assigned = positives(
            torch.from_numpy(stored[f"idx{k}_{s}"].astype(np.int64)),
            cxcywh_to_xyxy(rows[:, :4]),
            rows[:, 5:].argmax(dim=1),
        )
        # the reference's ignore test uses only the boxes assigned on this scale
        truth = cxcywh_to_xyxy(torch.from_numpy(stored[f"gt{k}_{s}"]))
        losses = scale_losses(logits, assigned, truth, anchors[s], STRIDES[s], settings)
        losses.total().backward()
        found = [float(term.detach().mean()) for term in (losses.giou, losses.conf, losses.prob)]
        np.testing.assert_allclose(found, stored[f"loss{k}"][s], rtol=2e-6, atol=1e-6)
        assert logits.grad is not None
        np.testing.assert_allclose(logits.grad.permute(0, 2, 3, 1), stored[f"grad{k}_{s}"], atol=6e-6)


def test_overflowing_background_gives_finite_loss_and_gradient() -> None:
    raw = torch.full((2, 3 * 8, 4, 5), 300.0, requires_grad=True)
    truth = torch.tensor([[[10.0, 10.0, 50.0, 40.0]], [[0.0, 0.0, 0.0, 0.0]]])
    losses = scale_losses(raw, no_positives(), truth, [(373.0, 326.0)] * 3, 32, PLAIN)
    losses.total().backward()
    assert torch.isfinite(losses.total())
    assert raw.grad is not None
    assert torch.isfinite(raw.grad).all()


def test_every_scale_ignores_predictions_that_fit_any_box_of_the_image() -> None:
    # a prediction on the coarse scale that fits a box assigned on the fine one
    fine, coarse = torch.zeros(1, 8, 4, 4), torch.zeros(1, 8, 2, 2)
    box = torch.tensor([[8.0, 8.0, 24.0, 24.0]])  # coarse: cell (0, 0), anchor 16 x 16, logits 0
    assigned = positives(torch.tensor([[0, 1, 1, 0]]), box, torch.tensor([0]))
    anchors = [[(16.0, 16.0)], [(16.0, 16.0)]]
    seen = compute_losses([fine, coarse], assigned, box[None], anchors, (16, 32), PLAIN)
    blind = compute_losses([fine, coarse], assigned, torch.zeros(1, 1, 4), anchors, (16, 32), PLAIN)
    one_cell = 0.25 * np.log(2)  # (0 - 1/2)^2 * BCE(0)
    assert float(blind.conf) - float(seen.conf) == pytest.approx(one_cell, rel=1e-5)


def test_a_batch_without_boxes_has_only_objectness_loss() -> None:
    raw = torch.zeros(2, 3 * 7, 3, 4)
    losses = scale_losses(raw, no_positives(), torch.zeros(2, 0, 4), [(10.0, 10.0)] * 3, 16, PLAIN)
    assert losses.giou.tolist() == losses.prob.tolist() == [0.0, 0.0]
    np.testing.assert_allclose(losses.conf, 3 * 3 * 4 * 0.25 * np.log(2), rtol=1e-6)


def test_each_weight_scales_its_own_term() -> None:
    raw = [torch.zeros(1, 3 * 7, 3, 4)]
    box = torch.tensor([[10.0, 10.0, 30.0, 26.0]])
    assigned = positives(torch.tensor([[0, 1, 1, 0]]), box, torch.tensor([1]))
    anchors = [[(10.0, 10.0)] * 3]
    plain = compute_losses(raw, assigned, box[None], anchors, (16,), PLAIN)
    heavy = compute_losses(raw, assigned, box[None], anchors, (16,), LossSettings(giou=2, conf=3, prob=5))
    for name, factor in (("giou", 2), ("conf", 3), ("prob", 5)):
        assert float(getattr(heavy, name)) == pytest.approx(factor * float(getattr(plain, name)))
        assert float(getattr(plain, name)) > 0


def one_object(
    truth: list[float], logit: float = 0.0, **wanted: object
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return losses and gradient of a single cell whose 16 x 16 anchor decodes to (8, 8, 24, 24)."""
    raw = torch.zeros(1, 7, 2, 2)
    raw[:, 4] = logit
    raw.requires_grad_()
    assigned = positives(torch.tensor([[0, 0, 0, 0]]), torch.tensor([truth]), torch.tensor([1]))
    losses = scale_losses(raw, assigned, torch.tensor([[truth]]), [(16.0, 16.0)], 32, LossSettings(**wanted))
    (gradient,) = torch.autograd.grad(losses.total(), raw)
    return losses.giou.detach(), losses.conf.detach(), losses.prob.detach(), gradient


TRUTH = [8.0, 8.0, 40.0, 24.0]  # twice as wide: IoU 1/2, centers 8 apart, 32 x 16 around both


@pytest.mark.parametrize(
    ("measure", "value"),
    [
        ("giou", 0.5),
        ("diou", 0.5 - 64 / 1280),
        ("ciou", 0.5 - 64 / 1280 - (s := 4 / np.pi**2 * (np.pi / 4 - np.arctan(2)) ** 2) ** 2 / (0.5 + s)),
    ],
)
def test_the_box_loss_follows_the_chosen_measure(measure: str, value: float) -> None:
    weight = 2 - 32 * 16 / 64**2
    box, conf, prob, gradient = one_object(TRUTH, box=measure)
    assert float(box) == pytest.approx(weight * (1 - value), rel=1e-5)
    plain = one_object(TRUTH)
    assert (conf, prob) == (plain[1], plain[2]), "the others do not change"
    assert (gradient[0, 2, 0, 0] < 0).all(), "it wants to be wider"


@pytest.mark.parametrize("logit", [-1.0, 0.0, 2.0])
def test_objectness_can_learn_the_iou_of_its_box(logit: float) -> None:
    """The term is (t - p)^2 BCE(t) with t = 1/2 on the positive, which an overlap of 1/2 does not ignore."""
    p, target = 1 / (1 + np.exp(-logit)), 0.5
    background = 3 * p**2 * -np.log(1 - p)
    expected = (target - p) ** 2 * -(target * np.log(p) + (1 - target) * np.log(1 - p))
    box, conf, prob, _ = one_object(TRUTH, logit, objectness="iou")
    assert float(conf) == pytest.approx(expected + background, rel=1e-5)
    plain = one_object(TRUTH, logit)
    assert (box, prob) == (plain[0], plain[2])
    assert float(plain[1]) == pytest.approx((1 - p) ** 2 * -np.log(p) + background, rel=1e-5)


def test_no_gradient_flows_into_the_iou_target() -> None:
    """Without the other terms, only objectness has a gradient."""
    _, _, _, gradient = one_object(TRUTH, 2.0, objectness="iou")
    _, _, _, plain = one_object(TRUTH, 2.0)
    assert torch.equal(gradient[:, :4], plain[:, :4])
    assert torch.equal(gradient[:, 5:], plain[:, 5:])
    assert gradient[0, 4, 0, 0] > 0 > plain[0, 4, 0, 0], "too sure for a box that fits by half"


def test_a_positive_whose_box_misses_counts_as_background() -> None:
    """Its target is 0, and it counts although its box fits another object."""
    raw = torch.zeros(1, 7, 2, 2)
    assigned = positives(
        torch.tensor([[0, 0, 0, 0]]), torch.tensor([[50.0, 50.0, 60.0, 60.0]]), torch.tensor([1])
    )
    truth = torch.tensor([[[50.0, 50.0, 60.0, 60.0], [8.0, 8.0, 24.0, 24.0]]])
    losses = scale_losses(raw, assigned, truth, [(16.0, 16.0)], 32, LossSettings(objectness="iou"))
    assert float(losses.conf) == pytest.approx(4 * 0.25 * np.log(2), rel=1e-5)


@pytest.mark.parametrize("measure", ["giou", "diou", "ciou"])
def test_overflowing_positives_give_finite_loss_and_gradient(measure: str) -> None:
    for value in (-300.0, 300.0):
        raw = torch.full((1, 7, 2, 2), value, requires_grad=True)
        box = torch.tensor([TRUTH])
        assigned = positives(torch.tensor([[0, 0, 0, 0]]), box, torch.tensor([1]))
        settings = LossSettings(box=measure, objectness="iou")
        total = scale_losses(raw, assigned, box[None], [(373.0, 326.0)], 32, settings).total()
        (gradient,) = torch.autograd.grad(total, raw)
        assert torch.isfinite(total)
        assert torch.isfinite(gradient).all()


def test_the_class_target_is_smoothed() -> None:
    """With smoothing 0.2 and four classes, the targets are 0.85 for the class and 0.05 for the others."""
    logits = torch.tensor([[2.0, -1.0, 0.5, -3.0]])
    p = torch.sigmoid(logits.double())[0]
    target = torch.tensor([0.05, 0.85, 0.05, 0.05], dtype=torch.float64)
    expected = -(target * p.log() + (1 - target) * (1 - p).log()).sum()
    assert float(class_terms(logits, torch.tensor([1]), 0.2).sum()) == pytest.approx(
        float(expected), rel=1e-6
    )


def test_terms_add_up_to_the_losses() -> None:
    """Terms of all positions add up over two images and scales, with every setting that changes a term."""
    random = torch.Generator().manual_seed(1)
    raw = [torch.randn((2, 2 * 8, *grid), generator=random) for grid in ((4, 6), (2, 3))]
    anchors, strides = [[(20.0, 30.0), (40.0, 20.0)], [(60.0, 50.0), (90.0, 80.0)]], (16, 32)
    truth = torch.tensor([[[5.0, 5, 40, 60], [30, 20, 70, 60]], [[10.0, 8, 90, 60], [0, 0, 0, 0]]])
    assigned = join(
        [
            assign(boxes.numpy()[: 2 - i], np.array([0, 2])[: 2 - i], anchors, strides, (64, 96))
            for i, boxes in enumerate(truth)
        ]
    ).each(torch.from_numpy)
    settings = LossSettings(objectness="iou", box="ciou", giou=2, conf=3, prob=5, ignore_iou=0.2)
    losses = compute_losses(raw, assigned, truth, anchors, strides, settings)
    scales = [
        scale_terms(raw[s], assigned.on_scale(s), truth, anchors[s], strides[s], settings) for s in (0, 1)
    ]
    for image in (0, 1):
        mine = [scale.positives.image == image for scale in scales]
        giou = sum(float(scale.giou[here].sum()) for scale, here in zip(scales, mine, strict=True))
        prob = sum(float(scale.prob[here].sum()) for scale, here in zip(scales, mine, strict=True))
        conf = sum(float(scale.conf[image].sum()) for scale in scales)
        assert float(losses.giou[image]) == pytest.approx(2 * giou, rel=1e-5)
        assert float(losses.conf[image]) == pytest.approx(3 * conf, rel=1e-5)
        assert float(losses.prob[image]) == pytest.approx(5 * prob, rel=1e-5)
    for scale in scales:
        assert (scale.conf[scale.ignored] == 0).all()
        assert (scale.ignored == (scale.best_iou >= 0.2))[scale.target == 0].all()


def test_no_images_have_no_losses() -> None:
    none = Losses.none()
    assert none.giou.shape == none.conf.shape == none.prob.shape == none.per_image().shape == (0,)


def test_the_total_is_a_mean_over_the_images_or_over_a_larger_batch() -> None:
    losses = Losses(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]), torch.tensor([5.0, 9.0]))
    assert losses.per_image().tolist() == [9, 15]
    assert float(losses.total()) == 12
    assert float(losses.total(8)) == 3


@pytest.mark.parametrize(("right", "iou"), [(16.0, 1.0), (8.0, 0.5)])
def test_the_weight_of_a_box_follows_its_share_of_the_input(right: float, iou: float) -> None:
    raw = torch.zeros(1, 6, 1, 4)  # one anchor, one class, an input of 16 x 64; decodes to (0, 0, 16, 16)
    box = torch.tensor([[0.0, 0.0, right, 16.0]])
    there = positives(torch.zeros(1, 4), box, torch.tensor([0]))
    found = scale_terms(raw, there, box[None], [(16.0, 16.0)], 16, LossSettings())
    np.testing.assert_allclose(found.giou, [(2 - right * 16 / (16 * 64)) * (1 - iou)], atol=1e-6)
    assert found.boxes.tolist() == [[0, 0, 16, 16]]
    assert found.target.flatten().tolist() == [1, 0, 0, 0]


def test_a_prediction_that_fits_a_box_is_ignored_beside_partly_annotated_cells() -> None:
    raw = torch.zeros(1, 6, 1, 3)  # boxes of 16 x 16, side by side
    raw[0, 4:, 0, 2] = -9  # the last cell shows nothing
    cells = torch.zeros(1, 1, 3, 2, dtype=torch.bool)
    cells[0, 0, 1:, 1] = True
    truth = torch.tensor([[[0.0, 0, 16, 16]]])
    found = scale_terms(raw, no_positives(), truth, [(16.0, 16.0)], 16, LossSettings(), cells)
    assert found.best_iou.flatten().tolist() == [1, 0, 0]
    assert found.ignored.flatten().tolist() == [True, True, False]


@pytest.mark.parametrize(("logit", "shown"), [(A_TENTH + 1e-3, True), (A_TENTH - 1e-3, False)])
def test_a_partly_annotated_class_is_ignored_above_a_score_of_a_tenth(logit: float, shown: bool) -> None:
    raw = torch.tensor([0.0, 0, 0, 0, 100, logit]).reshape(1, 6, 1, 1)
    cells = torch.tensor([False, True]).reshape(1, 1, 1, 2)
    found = scale_terms(raw, no_positives(), torch.zeros(1, 0, 4), [(16.0, 16.0)], 16, PLAIN, cells)
    assert bool(found.ignored) is shown


def test_losses_of_absent_classes_match_the_formula() -> None:
    raw = torch.randn((1, 3 * 8, 2, 3), generator=torch.Generator().manual_seed(1))
    raw[0, [4, 6, 12, 14, 20, 22], 1, 2] = 1  # objectness and class 1 of each anchor: it may be shown here
    raw[0, [20, 22], 1, 2] = -1  # by the third anchor it is not: 0.27 * 0.27 < 0.1
    cells = torch.zeros((1, 2, 3, 4), dtype=torch.bool)
    cells[0, 1, 2, 2] = True  # class 1 of one cell
    there = positives(torch.tensor([[0, 1, 2, 1]]), torch.tensor([[70.0, 40, 90, 60]]), torch.tensor([0]))
    settings = LossSettings(ignore_iou=1)
    terms = scale_terms(raw, there, torch.zeros(1, 0, 4), [(30.0, 60.0)] * 3, 32, settings, cells)
    values = raw.unflatten(1, (3, 8))[0, :, :, 1, 2].double()  # (A, 8)
    score = torch.sigmoid(values[:, 4:5]) * torch.sigmoid(values[:, [5, 7]])
    expected = -(score**2 * torch.log(1 - score)).sum(dim=1)
    expected[1] = 0  # the place of the positive
    expected[2] = 0  # background as usual
    assert terms.absent is not None
    assert terms.absent[0, 1, 2].tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    assert float(terms.absent.sum()) == pytest.approx(float(expected.sum()), rel=1e-5)
    assert terms.ignored[0, 1, 2].tolist() == [True, False, False]
    assert int(terms.ignored.sum()) == 1
    assert float(terms.sums().prob) == pytest.approx(float(expected.sum() + terms.prob.sum()), rel=1e-5)


REGION = Decoding("region")


def test_exclusive_classes_have_softmax_cross_entropy() -> None:
    logits = torch.tensor([[1.0, 2, 5], [1, 1, 2]]).log()  # probabilities of 1/8, 2/8, 5/8 and 1/4, 1/4, 1/2
    found = class_terms(logits, torch.tensor([1, 2]), 0.3, REGION)
    expected = -np.array([[0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]) * np.log(
        [[1 / 8, 2 / 8, 5 / 8], [1 / 4, 1 / 4, 1 / 2]]
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_an_absent_softmax_class_is_penalized_by_its_score() -> None:
    maps = torch.zeros(1, 1, 2, 1, 8)
    maps[0, 0, 0, 0, 5:] = torch.tensor([1.0, 2, 5]).log()
    known = torch.tensor([True, False, True])[None, None, None, None]
    found = absent_terms(maps, known, torch.tensor([[[[True], [False]]]]), REGION)
    score = np.array([1 / 16, 5 / 16])  # the objectness is 1/2
    np.testing.assert_allclose(found[0, 0, :, 0], [-(score**2 * np.log(1 - score)).sum(), 0], rtol=1e-5)


def test_softmax_scores_decide_which_classes_are_absent_or_ignored() -> None:
    raw = torch.zeros(2, 8, 1, 1)
    raw[:, 5:, 0, 0] = torch.tensor([1.0, 2, 5]).log()  # scores of 1/16, 2/16 and 5/16
    cells = torch.zeros(2, 1, 1, 4, dtype=torch.bool)
    cells[0, 0, 0, 2] = True  # class 1 of the first image
    given = raw, no_positives(), torch.zeros(2, 0, 4), [(16.0, 16.0)], 16, PLAIN, cells, REGION
    found = scale_terms(*given)
    score = np.array([1 / 16, 5 / 16])
    expected = -(score**2 * np.log(1 - score)).sum()
    assert found.absent is not None
    assert found.absent.flatten().tolist() == pytest.approx([expected, 0], rel=1e-5)
    assert found.sums().prob.tolist() == pytest.approx([expected, 0], rel=1e-5)


def test_boxes_and_objectness_follow_the_form_of_the_scale() -> None:
    raw = torch.zeros(1, 6, 1, 1)
    raw[0, 2:4] = math.log(3)  # a sigmoid of 3/4: sides of 16 * 1.5²
    truth = torch.tensor([[[-10.0, -10, 26, 26]]])
    found = scale_terms(
        raw, no_positives(), truth, [(16.0, 16.0)], 16, PLAIN, decoding=Decoding("new_coords")
    )
    assert float(found.best_iou) == pytest.approx(1)
    there = positives(torch.zeros(1, 4), torch.tensor([[0.0, 0, 16, 16]]), torch.tensor([0]))
    given = torch.zeros(1, 10, 1, 1), there, truth, [(16.0, 16.0)], 16, PLAIN
    found = scale_terms(*given, decoding=Decoding("gaussian"))
    # an objectness of 1/2, lowered by four uncertainties of 1/2
    assert float(found.conf) == pytest.approx(0.75**2 * math.log(4), rel=1e-5)
    assert found.classes.shape == (1, 1)


def test_the_loss_of_a_certain_but_absent_class_is_finite_and_exact() -> None:
    """1 - score is 2 σ(-30), far below the resolution of float32 at 1."""
    maps = torch.full((1, 1, 1, 1, 6), 30.0)
    every = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    assert float(absent_terms(maps, every[..., None], every)) == pytest.approx(30 - np.log(2), rel=1e-5)
    assert float(absent_terms(100 * maps, every[..., None], every)) == pytest.approx(
        30 * np.log(10), rel=1e-5
    )


def likely(raw: Tensor, row: int, column: int, label: int) -> None:
    raw[0, 4, row, column] = raw[0, 5 + label, row, column] = 2.0


def test_positions_are_ignored_by_overlap_area_or_partly_annotated_class() -> None:
    """Each cell decodes to a 16 x 16 box at its center. Only the third kind trains absent classes."""
    raw = torch.zeros(1, 8, 2, 3)
    cells = torch.zeros(1, 2, 3, 4, dtype=torch.bool)
    truth = torch.tensor([[[8.0, 8, 24, 24]]])  # of the first cell
    cells[0, 0, 1, 0] = True  # nothing counts in the second
    for row, column in ((0, 0), (0, 1), (1, 0)):  # and class 1 may lack boxes in these, where it is likely
        cells[0, row, column, 2] = True
        likely(raw, row, column, 1)
    cells[0, 1, 1, 2] = True  # here it is not
    raw[0, 4, 1, 1] = -3.0
    likely(raw, 1, 2, 1)  # and here it has all of its boxes
    terms = scale_terms(raw, no_positives(), truth, [(16.0, 16.0)], 32, PLAIN, cells)

    assert terms.ignored[0, ..., 0].tolist() == [[True, True, False], [True, False, False]]
    assert (terms.background == ~terms.ignored).all()
    assert terms.best_iou[0, ..., 0].tolist() == [[1, 0, 0], [0, 0, 0]]
    assert terms.absent is not None
    score = 0.5 / (1 + np.exp(-2))
    expected = np.zeros((2, 3))
    expected[1, 0] = -2 * score**2 * np.log(1 - score)  # of classes 0 and 2
    np.testing.assert_allclose(terms.absent[0, ..., 0], expected, rtol=1e-5)
    assert float(terms.sums().prob) == pytest.approx(expected.sum(), rel=1e-5)

    every = compute_losses(
        [raw], no_positives(), truth, [[(16.0, 16.0)]], (32,), LossSettings(prob=3), [cells]
    )
    assert float(every.prob) == pytest.approx(3 * expected.sum(), rel=1e-5)


def test_an_overlap_at_the_threshold_is_ignored() -> None:
    raw, half = torch.zeros(1, 6, 1, 2), torch.tensor([[[8.0, 8, 24, 16]]])
    for threshold, ignored in ((0.5, True), (0.51, False)):
        settings = LossSettings(ignore_iou=threshold)
        terms = scale_terms(raw, no_positives(), half, [(16.0, 16.0)], 32, settings)
        assert terms.ignored.flatten().tolist() == [ignored, False]


def test_a_positive_is_not_background() -> None:
    there = positives(torch.tensor([[0, 1, 2, 0]]), torch.tensor([TRUTH]), torch.tensor([1]))
    terms = scale_terms(torch.zeros(1, 7, 2, 3), there, torch.zeros(1, 0, 4), [(16.0, 16.0)], 32, PLAIN)
    assert terms.background[0, ..., 0].tolist() == [[True, True, True], [True, True, False]]
    assert terms.prob.shape == (1,)


def test_each_scale_is_trained_in_its_own_form() -> None:
    """At (2 σ)² = 2, the sides of a new_coords box are twice those of its anchor."""
    raw, box = torch.zeros(1, 7, 1, 1), torch.tensor([[0.0, 0, 32, 32]])
    raw[0, 2:4] = float(np.log(1 / (np.sqrt(2) - 1)))
    raw[0, 5] = 2.0
    there = positives(torch.zeros(1, 4), box, torch.tensor([0]))
    anchors = [[(16.0, 16.0)]]

    def losses(form: str) -> Losses:
        decodings = [Decoding(form)]  # type: ignore[arg-type]
        return compute_losses([raw], there, box[None], anchors, (32,), PLAIN, decodings=decodings)

    assert float(losses("new_coords").giou) == pytest.approx(0, abs=1e-5)
    assert float(losses("yolo").giou) > 0.1
    smoothing = PLAIN.label_smoothing / 2
    p = 1 / (1 + np.exp(-2))  # a softmax of two numbers, too
    region = -(1 - smoothing) * np.log(p) - smoothing * np.log(1 - p)
    assert float(losses("region").prob) == pytest.approx(region, rel=1e-5)
    assert float(losses("yolo").prob) == pytest.approx(region + np.log(2), rel=1e-5)
