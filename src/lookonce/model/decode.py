"""Decode raw maps into boxes and scores; see `geometry.decode` for the formula.

Legend: **B** batch, **A** = 3 anchors, **C** classes, **S** cells per side (rows and columns may differ),
**K** decoded boxes of all scales (10,647 at 416).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lookonce.geometry.boxes import cxcywh_to_xyxy
from lookonce.geometry.decode import YOLO, Decoding, center_of, sides_of

LARGEST_PROBABILITY = 1 - 1e-6  # upper bound that keeps the logit finite


def by_anchor(raw: Tensor, anchors: int) -> Tensor:
    """Reshape (B, A*(5+C), S, S) -> (B, S, S, A, 5+C); a view, without a copy, of channels-last memory."""
    b, channels, rows, columns = raw.shape
    return raw.permute(0, 2, 3, 1).reshape(b, rows, columns, anchors, channels // anchors)


def standard(maps: Tensor, decoding: Decoding = YOLO) -> Tensor:
    """Reduce the raw numbers of any form to (..., 5+C): tx, ty, tw, th, logits of objectness and classes.

    Only a [Gaussian_yolo] changes: it has an uncertainty after each of the first four numbers. Its objectness
    becomes the logit of σ(objectness) * (1 - mean uncertainty), so that training optimizes the objectness
    that detection uses.
    """
    if decoding.form != "gaussian":
        return maps
    certain = 1 - torch.sigmoid(maps[..., 1:8:2]).mean(dim=-1, keepdim=True)
    objectness = torch.logit(
        (torch.sigmoid(maps[..., 8:9]) * certain).clamp(1 - LARGEST_PROBABILITY, LARGEST_PROBABILITY)
    )
    return torch.cat([maps[..., 0:8:2], objectness, maps[..., 9:]], dim=-1)


def decode_boxes(
    raw: Tensor, column: Tensor, row: Tensor, anchor: Tensor, stride: int, decoding: Decoding = YOLO
) -> Tensor:
    """Decode the boxes of any cells: (..., 4) xyxy in pixels of the network input.

    Args:
        raw: (..., >=4) tx, ty, tw, th.
        column: (...) column of the cell.
        row: (...) row of the cell.
        anchor: (..., 2) width and height of the anchor, in pixels of the network input.
        stride: pixels per cell.
        decoding: decoding of the scale.
    """
    corner = torch.stack([column.expand_as(raw[..., 0]), row.expand_as(raw[..., 0])], dim=-1)
    center = center_of(torch.sigmoid(raw[..., :2]), corner, stride, decoding.scale_x_y)
    return cxcywh_to_xyxy(torch.cat([center, sides_of(raw[..., 2:4], anchor, decoding.form)], dim=-1))


def decode_all_boxes(
    maps: Tensor, anchors: Sequence[tuple[float, float]], stride: int, decoding: Decoding = YOLO
) -> Tensor:
    """Decode the boxes of all cells and anchors: (B, S, S, A, >=4) -> (B, S, S, A, 4) xyxy, input pixels."""
    _, rows, columns, _, _ = maps.shape
    column = torch.arange(columns, device=maps.device, dtype=maps.dtype)[None, :, None]  # (1, S, 1)
    row = torch.arange(rows, device=maps.device, dtype=maps.dtype)[:, None, None]  # (S, 1, 1)
    sides = torch.tensor(anchors, device=maps.device, dtype=maps.dtype)  # (A, 2)
    return decode_boxes(maps, column, row, sides, stride, decoding)


def decode_scale(
    raw: Tensor, anchors: Sequence[tuple[float, float]], stride: int, decoding: Decoding = YOLO
) -> Tensor:
    """Decode one raw map: (B, A*(5+C), S, S) -> (B, S, S, A, 5+C).

    The last axis holds xyxy in input pixels, objectness, and class probabilities.
    """
    maps = standard(by_anchor(raw, len(anchors)), decoding)
    boxes = decode_all_boxes(maps, anchors, stride, decoding)
    if decoding.form == "region":
        objectness, classes = torch.sigmoid(maps[..., 4:5]), torch.softmax(maps[..., 5:], dim=-1)
        return torch.cat([boxes, objectness, classes], dim=-1)
    return torch.cat([boxes, torch.sigmoid(maps[..., 4:])], dim=-1)


def decode(
    raw_maps: Sequence[Tensor],
    anchors: Sequence[Sequence[tuple[float, float]]],
    strides: Sequence[int],
    decodings: Sequence[Decoding] | None = None,
) -> Tensor:
    """Decode the raw maps of all scales, finest first: (B, K, 5+C).

    K runs over scales, rows, columns and anchors. `decodings` holds one decoding per scale; None uses
    YOLOv3's for all scales.
    """
    decodings = decodings or [YOLO] * len(strides)
    decoded = [decode_scale(*scale) for scale in zip(raw_maps, anchors, strides, decodings, strict=True)]
    return torch.cat([scale.flatten(1, 3) for scale in decoded], dim=1)
