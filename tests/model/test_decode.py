"""Compare decoding with the original code."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lookonce.geometry.boxes import xyxy_to_cxcywh
from lookonce.geometry.decode import LARGEST_LOG_SIDE, YOLO, Decoding
from lookonce.model.decode import by_anchor, decode, decode_boxes, decode_scale, standard

STRIDES = (8, 16, 32)


@pytest.mark.parametrize("k", range(4))
def test_boxes_equal_the_reference(reference: Path, k: int) -> None:
    stored, targets = np.load(reference / "decode.npz"), np.load(reference / "targets.npz")
    case = json.loads((reference / "decode.json").read_text())[k]
    anchors = targets[f"anchors_{case['anchors']}_px"].tolist()
    for s in range(3):
        logits = stored[f"logits{k}_{s}"]
        found = decode_scale(torch.from_numpy(logits).permute(0, 3, 1, 2), anchors[s], STRIDES[s])
        expected = stored[f"out{k}_{s}"]
        assert found.shape == expected.shape
        np.testing.assert_allclose(found[..., 4:], expected[..., 4:], rtol=2e-6, atol=1e-7)
        # the reference does not bound the sides: its last case has infinite ones
        sides = logits.reshape(expected.shape)[..., 2:4]
        bounded = (np.abs(sides) < LARGEST_LOG_SIDE).all(axis=-1)
        boxes = xyxy_to_cxcywh(found[..., :4].double())[bounded]
        largest = np.abs(expected[bounded][:, :4]).max(axis=1, keepdims=True)
        assert (np.abs(boxes.numpy() - expected[bounded][:, :4]) <= 2e-6 * largest).all()


def test_overflowing_sides_stay_finite() -> None:
    raw = torch.full((1, 18, 2, 3), 1e4)
    assert torch.isfinite(decode_scale(raw, [(373.0, 326.0)] * 3, 32)).all()


def test_candidates_are_ordered_by_row_then_column_then_anchor() -> None:
    raw = torch.zeros(1, 2 * 6, 2, 3)  # two anchors, one class, two rows, three columns
    raw[0, 6 + 4, 1, 2] = 9.0  # objectness of anchor 1 in row 1, column 2
    decoded = decode([raw], [[(4.0, 4.0), (8.0, 6.0)]], [16])
    assert decoded.shape == (1, 12, 6)
    best = int(decoded[0, :, 4].argmax())
    assert best == (1 * 3 + 2) * 2 + 1
    np.testing.assert_allclose(decoded[0, best, :4], [40 - 4, 24 - 3, 40 + 4, 24 + 3])


def test_candidates_of_the_finer_scale_come_first() -> None:
    fine, coarse = torch.zeros(2, 6, 2, 4), torch.zeros(2, 6, 1, 2)
    coarse[1, 4] = 9.0
    decoded = decode([fine, coarse], [[(4.0, 4.0)], [(16.0, 16.0)]], [8, 16])
    assert decoded.shape == (2, 8 + 2, 6)
    assert (decoded[1, :, 4] > 0.9).tolist() == [False] * 8 + [True] * 2
    np.testing.assert_allclose(decoded[1, 9, :4], [24 - 8, 8 - 8, 24 + 8, 8 + 8])


def test_a_scale_without_anchors_is_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        decode([torch.zeros(1, 6, 2, 2)] * 2, [[(4.0, 4.0)]], [8, 16])


def test_the_channels_of_an_anchor_stay_together() -> None:
    raw = torch.arange(2 * 12 * 2 * 3).reshape(2, 12, 2, 3)
    found = by_anchor(raw, 2)
    assert found.shape == (2, 2, 3, 2, 6)
    assert torch.equal(found[1, 0, 2, 1], raw[1, 6:, 0, 2])
    assert found.data_ptr() == raw.data_ptr()


def logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


def test_the_mean_uncertainty_lowers_gaussian_objectness() -> None:
    """The four numbers of a box each precede their uncertainty; objectness and classes follow."""
    uncertain = [logit(p) for p in (0.1, 0.2, 0.3, 0.8)]
    raw = torch.tensor(
        [[1, uncertain[0], 2, uncertain[1], 3, uncertain[2], 4, uncertain[3], logit(0.5), 7, 8]]
    )
    found = standard(raw, Decoding("gaussian"))
    assert found.shape == (1, 7)
    assert found[0, [0, 1, 2, 3, 5, 6]].tolist() == [1, 2, 3, 4, 7, 8]
    assert float(torch.sigmoid(found[0, 4])) == pytest.approx(0.5 * (1 - 0.35), rel=1e-6)
    assert standard(raw) is raw


@pytest.mark.parametrize(("objectness", "uncertainty", "found"), [(100, -100, 1 - 1e-6), (-100, 100, 1e-6)])
def test_gaussian_objectness_stays_a_finite_logit(
    objectness: float, uncertainty: float, found: float
) -> None:
    raw = torch.tensor([[0, uncertainty] * 4 + [objectness, 0]], dtype=torch.float64)
    (value,) = standard(raw, Decoding("gaussian"))[:, 4].tolist()
    assert value == pytest.approx(logit(found), rel=1e-4)


def test_a_region_scale_has_softmax_classes() -> None:
    """`scale_x_y` moves its centers as well."""
    raw = torch.zeros(2, 8, 1, 1)
    raw[0, 0], raw[0, 4], raw[0, 5:, 0, 0] = logit(0.75), logit(0.2), torch.tensor([1.0, 2, 5]).log()
    found = decode_scale(raw, [(16.0, 8.0)], 32, Decoding("region", scale_x_y=2))
    assert found.shape == (2, 1, 1, 1, 8)
    # x = (0.75 * 2 - 0.5) * 32
    np.testing.assert_allclose(
        found[0, 0, 0, 0], [32 - 8, 16 - 4, 32 + 8, 16 + 4, 0.2, 0.125, 0.25, 0.625], rtol=1e-6
    )
    np.testing.assert_allclose(found[1, 0, 0, 0], [8, 12, 24, 20, 0.5, 1 / 3, 1 / 3, 1 / 3], rtol=1e-6)


def test_each_scale_has_its_own_form() -> None:
    raw = [torch.zeros(1, 6, 1, 1), torch.zeros(1, 6, 1, 1)]
    raw[0][0, 2], raw[1][0, 2] = 1.0, 1.0
    anchors = [[(8.0, 8.0)], [(8.0, 8.0)]]
    found = decode(raw, anchors, [16, 16], [Decoding("new_coords"), YOLO])
    widths = (found[0, :, 2] - found[0, :, 0]).tolist()
    assert widths == pytest.approx([8 * (2 / (1 + np.exp(-1))) ** 2, 8 * np.e], rel=1e-6)
    assert decode(raw, anchors, [16, 16])[0, 0].tolist() == pytest.approx(found[0, 1].tolist())


def test_picked_cells_are_decoded_as_in_the_whole_map() -> None:
    raw, anchors = (
        torch.randn((1, 2 * 6, 3, 4), generator=torch.Generator().manual_seed(0)),
        [(8.0, 9.0), (30, 20)],
    )
    decoding = Decoding("new_coords", scale_x_y=1.5)
    whole = decode_scale(raw, anchors, 16, decoding)
    row, column, anchor = torch.tensor([0, 2]), torch.tensor([3, 1]), torch.tensor([1, 0])
    picked = by_anchor(raw, 2)[0, row, column, anchor]
    found = decode_boxes(picked, column, row, torch.tensor(anchors)[anchor], 16, decoding)
    torch.testing.assert_close(found, whole[0, row, column, anchor, :4])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_candidates_have_the_precision_of_the_maps(dtype: torch.dtype) -> None:
    raw = torch.zeros((1, 6, 2, 3), dtype=dtype)
    assert decode([raw], [[(4.0, 4.0)]], [16]).dtype == dtype


def test_candidates_stay_on_the_device_of_the_maps() -> None:
    """A tensor on `meta` has only a shape and a device."""
    raw = torch.zeros((2, 6, 2, 3), device="meta")
    found = decode([raw], [[(4.0, 4.0)]], [16])
    assert found.shape == (2, 6, 6)
    assert found.device.type == "meta"
