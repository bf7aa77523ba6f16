"""Decoding against the original code."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lookonce.geometry.boxes import xyxy_to_cxcywh
from lookonce.geometry.decode import LARGEST_LOG_SIDE
from lookonce.model.decode import decode, decode_scale

STRIDES = (8, 16, 32)


@pytest.mark.parametrize("k", range(4))
def test_same_boxes_as_the_reference(reference: Path, k: int) -> None:
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


def test_candidates_run_over_rows_then_columns_then_anchors() -> None:
    raw = torch.zeros(1, 2 * 6, 2, 3)  # two anchors, one class, two rows, three columns
    raw[0, 6 + 4, 1, 2] = 9.0  # objectness of anchor 1 in row 1, column 2
    decoded = decode([raw], [[(4.0, 4.0), (8.0, 6.0)]], [16])
    assert decoded.shape == (1, 12, 6)
    best = int(decoded[0, :, 4].argmax())
    assert best == (1 * 3 + 2) * 2 + 1
    np.testing.assert_allclose(decoded[0, best, :4], [40 - 4, 24 - 3, 40 + 4, 24 + 3])


def test_candidates_of_a_coarser_scale_follow_those_of_the_finer() -> None:
    fine, coarse = torch.zeros(2, 6, 2, 4), torch.zeros(2, 6, 1, 2)
    coarse[1, 4] = 9.0
    decoded = decode([fine, coarse], [[(4.0, 4.0)], [(16.0, 16.0)]], [8, 16])
    assert decoded.shape == (2, 8 + 2, 6)
    assert (decoded[1, :, 4] > 0.9).tolist() == [False] * 8 + [True] * 2
    np.testing.assert_allclose(decoded[1, 9, :4], [24 - 8, 8 - 8, 24 + 8, 8 + 8])


def test_a_scale_without_anchors_is_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        decode([torch.zeros(1, 6, 2, 2)] * 2, [[(4.0, 4.0)]], [8, 16])
