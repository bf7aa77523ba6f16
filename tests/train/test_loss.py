"""Losses and their gradients against the original code, and the decisions where we differ."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lookonce.config import LossSettings
from lookonce.data.assign import Positives, assign, join
from lookonce.geometry.boxes import cxcywh_to_xyxy
from lookonce.train.loss import Losses, class_terms, compute_losses, scale_terms

STRIDES = (8, 16, 32)
PLAIN = LossSettings()


def positives(cells: Tensor, boxes: Tensor, labels: Tensor, scale: int = 0) -> Positives[Tensor]:
    """From (P, 4) image, row, column, anchor."""
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
        # the reference's ignore test sees only the boxes assigned on this scale, so it gets just those here
        truth = cxcywh_to_xyxy(torch.from_numpy(stored[f"gt{k}_{s}"]))
        losses = scale_losses(logits, assigned, truth, anchors[s], STRIDES[s], settings)
        losses.total().backward()
        found = [float(term.detach().mean()) for term in (losses.giou, losses.conf, losses.prob)]
        np.testing.assert_allclose(found, stored[f"loss{k}"][s], rtol=2e-6, atol=1e-6)
        assert logits.grad is not None
        np.testing.assert_allclose(logits.grad.permute(0, 2, 3, 1), stored[f"grad{k}_{s}"], atol=6e-6)


def test_overflowing_background_leaves_loss_and_gradient_finite() -> None:
    raw = torch.full((2, 3 * 8, 4, 5), 300.0, requires_grad=True)
    truth = torch.tensor([[[10.0, 10.0, 50.0, 40.0]], [[0.0, 0.0, 0.0, 0.0]]])
    losses = scale_losses(raw, no_positives(), truth, [(373.0, 326.0)] * 3, 32, PLAIN)
    losses.total().backward()
    assert torch.isfinite(losses.total())
    assert raw.grad is not None
    assert torch.isfinite(raw.grad).all()


def test_every_scale_ignores_what_fits_any_box_of_the_image() -> None:
    # a prediction on the coarse scale that fits a box assigned on the fine one
    fine, coarse = torch.zeros(1, 8, 4, 4), torch.zeros(1, 8, 2, 2)
    box = torch.tensor([[8.0, 8.0, 24.0, 24.0]])  # coarse: cell (0, 0), anchor 16 x 16, logits 0
    assigned = positives(torch.tensor([[0, 1, 1, 0]]), box, torch.tensor([0]))
    anchors = [[(16.0, 16.0)], [(16.0, 16.0)]]
    seen = compute_losses([fine, coarse], assigned, box[None], anchors, (16, 32), PLAIN)
    blind = compute_losses([fine, coarse], assigned, torch.zeros(1, 1, 4), anchors, (16, 32), PLAIN)
    one_cell = 0.25 * np.log(2)  # (0 - 1/2)^2 * BCE(0)
    assert float(blind.conf) - float(seen.conf) == pytest.approx(one_cell, rel=1e-5)


def test_a_batch_without_boxes_has_objectness_only() -> None:
    raw = torch.zeros(2, 3 * 7, 3, 4)
    losses = scale_losses(raw, no_positives(), torch.zeros(2, 0, 4), [(10.0, 10.0)] * 3, 16, PLAIN)
    assert losses.giou.tolist() == losses.prob.tolist() == [0.0, 0.0]
    np.testing.assert_allclose(losses.conf, 3 * 3 * 4 * 0.25 * np.log(2), rtol=1e-6)


def test_weights_scale_their_own_term() -> None:
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
    """The one cell of a 16 x 16 anchor that decodes to (8, 8, 24, 24): its losses and gradient."""
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
def test_the_box_loss_by_each_measure(measure: str, value: float) -> None:
    weight = 2 - 32 * 16 / 64**2
    box, conf, prob, gradient = one_object(TRUTH, box=measure)
    assert float(box) == pytest.approx(weight * (1 - value), rel=1e-5)
    plain = one_object(TRUTH)
    assert (conf, prob) == (plain[1], plain[2]), "the others do not change"
    assert (gradient[0, 2, 0, 0] < 0).all(), "it wants to be wider"


@pytest.mark.parametrize("logit", [-1.0, 0.0, 2.0])
def test_objectness_may_learn_the_iou_of_its_box(logit: float) -> None:
    """(t - p)^2 BCE(t) with t = 1/2 on the positive; its box overlaps by 1/2, which ignores no positive."""
    p, target = 1 / (1 + np.exp(-logit)), 0.5
    background = 3 * p**2 * -np.log(1 - p)
    expected = (target - p) ** 2 * -(target * np.log(p) + (1 - target) * np.log(1 - p))
    box, conf, prob, _ = one_object(TRUTH, logit, objectness="iou")
    assert float(conf) == pytest.approx(expected + background, rel=1e-5)
    plain = one_object(TRUTH, logit)
    assert (box, prob) == (plain[0], plain[2])
    assert float(plain[1]) == pytest.approx((1 - p) ** 2 * -np.log(p) + background, rel=1e-5)


def test_the_iou_is_a_target_that_no_gradient_flows_into() -> None:
    """Without the other terms, only the objectness of the cells moves."""
    _, _, _, gradient = one_object(TRUTH, 2.0, objectness="iou")
    _, _, _, plain = one_object(TRUTH, 2.0)
    assert torch.equal(gradient[:, :4], plain[:, :4])
    assert torch.equal(gradient[:, 5:], plain[:, 5:])
    assert gradient[0, 4, 0, 0] > 0 > plain[0, 4, 0, 0], "too sure for a box that fits by half"


def test_a_positive_whose_box_misses_counts_as_background() -> None:
    """Its target is 0, and it counts although its box fits another truth."""
    raw = torch.zeros(1, 7, 2, 2)
    assigned = positives(
        torch.tensor([[0, 0, 0, 0]]), torch.tensor([[50.0, 50.0, 60.0, 60.0]]), torch.tensor([1])
    )
    truth = torch.tensor([[[50.0, 50.0, 60.0, 60.0], [8.0, 8.0, 24.0, 24.0]]])
    losses = scale_losses(raw, assigned, truth, [(16.0, 16.0)], 32, LossSettings(objectness="iou"))
    assert float(losses.conf) == pytest.approx(4 * 0.25 * np.log(2), rel=1e-5)


@pytest.mark.parametrize("measure", ["giou", "diou", "ciou"])
def test_overflowing_positives_leave_loss_and_gradient_finite(measure: str) -> None:
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
    """With smoothing 0.2 and four classes the targets are 0.85 for the class and 0.05 for the others."""
    logits = torch.tensor([[2.0, -1.0, 0.5, -3.0]])
    p = torch.sigmoid(logits.double())[0]
    target = torch.tensor([0.05, 0.85, 0.05, 0.05], dtype=torch.float64)
    expected = -(target * p.log() + (1 - target) * (1 - p).log()).sum()
    assert float(class_terms(logits, torch.tensor([1]), 0.2).sum()) == pytest.approx(
        float(expected), rel=1e-6
    )


def test_terms_add_up_to_the_losses() -> None:
    """Each place's part, over two images and two scales, with every setting that changes a part."""
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
def test_a_boxs_weight_is_its_share_of_a_rectangular_input(right: float, iou: float) -> None:
    raw = torch.zeros(1, 6, 1, 4)  # one anchor, one class, an input of 16 x 64; decodes to (0, 0, 16, 16)
    box = torch.tensor([[0.0, 0.0, right, 16.0]])
    there = positives(torch.zeros(1, 4), box, torch.tensor([0]))
    found = scale_terms(raw, there, box[None], [(16.0, 16.0)], 16, LossSettings())
    np.testing.assert_allclose(found.giou, [(2 - right * 16 / (16 * 64)) * (1 - iou)], atol=1e-6)
