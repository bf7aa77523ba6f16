"""From raw maps to boxes.

Legend: **B** batch, **A** = 3 anchors, **C** classes, **S** cells per side (rows and columns may differ),
**K** candidates of all scales (10,647 at 416).

The formula stands in `geometry.decode`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lookonce.geometry.boxes import cxcywh_to_xyxy
from lookonce.geometry.decode import centre_of, sides_of


def by_anchor(raw: Tensor, anchors: int) -> Tensor:
    """(B, A*(5+C), S, S) -> (B, S, S, A, 5+C): a view, no copy when the memory is channels-last."""
    b, channels, rows, columns = raw.shape
    return raw.permute(0, 2, 3, 1).reshape(b, rows, columns, anchors, channels // anchors)


def decode_boxes(raw: Tensor, column: Tensor, row: Tensor, anchor: Tensor, stride: int) -> Tensor:
    """Decode any cells: raw (..., >=4), column, row (...), anchor sides in pixels (..., 2) -> (..., 4).

    Returns xyxy in pixels of the network input.
    """
    corner = torch.stack([column.expand_as(raw[..., 0]), row.expand_as(raw[..., 0])], dim=-1)
    centre = centre_of(torch.sigmoid(raw[..., :2]), corner, stride)
    return cxcywh_to_xyxy(torch.cat([centre, sides_of(raw[..., 2:4], anchor)], dim=-1))


def decode_all_boxes(maps: Tensor, anchors: Sequence[tuple[float, float]], stride: int) -> Tensor:
    """Decode every cell and anchor: (B, S, S, A, >=4) -> (B, S, S, A, 4) xyxy in input pixels."""
    _, rows, columns, _, _ = maps.shape
    column = torch.arange(columns, device=maps.device, dtype=maps.dtype)[None, :, None]  # (1, S, 1)
    row = torch.arange(rows, device=maps.device, dtype=maps.dtype)[:, None, None]  # (S, 1, 1)
    sides = torch.tensor(anchors, device=maps.device, dtype=maps.dtype)  # (A, 2)
    return decode_boxes(maps, column, row, sides, stride)


def decode_scale(raw: Tensor, anchors: Sequence[tuple[float, float]], stride: int) -> Tensor:
    """Decode one raw map (B, A*(5+C), S, S) -> (B, S, S, A, 5+C).

    The last axis holds xyxy in input pixels, objectness, class probabilities.
    """
    maps = by_anchor(raw, len(anchors))
    return torch.cat([decode_all_boxes(maps, anchors, stride), torch.sigmoid(maps[..., 4:])], dim=-1)


def decode(
    raw_maps: Sequence[Tensor],
    anchors: Sequence[Sequence[tuple[float, float]]],
    strides: Sequence[int],
) -> Tensor:
    """Decode all raw maps, finest first -> (B, K, 5+C). K runs over scales, rows, columns, anchors."""
    decoded = [decode_scale(*scale) for scale in zip(raw_maps, anchors, strides, strict=True)]
    return torch.cat([scale.flatten(1, 3) for scale in decoded], dim=1)
