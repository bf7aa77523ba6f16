"""Compare the boxes around run-length masks with pycocotools."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookonce.annotations.masks import box_around

tools = pytest.importorskip("pycocotools.mask")


def packed(mask: np.ndarray) -> str:
    counts: bytes = tools.encode(np.asfortranarray(mask))["counts"]
    return counts.decode()


def runs(mask: np.ndarray) -> list[int]:
    flat = mask.flatten(order="F")
    ends = [*np.flatnonzero(np.diff(flat)) + 1, flat.size]
    counts = [int(end) - int(start) for start, end in zip([0, *ends], ends, strict=False)]
    return [0, *counts] if flat[0] else counts


@given(
    st.integers(1, 40), st.integers(1, 30), st.integers(0, 2**32 - 1), st.sampled_from([0.001, 0.05, 0.5, 1])
)
def test_the_box_surrounds_the_mask(height: int, width: int, seed: int, share: float) -> None:
    mask = (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8)
    for counts in (packed(mask), runs(mask)):
        given = {"size": [height, width], "counts": counts}
        if not mask.any():
            with pytest.raises(ValueError, match="an object in the mask"):
                box_around(given, None)
            continue
        rows, columns = np.nonzero(mask)
        expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert box_around(given, (height, width)) == expected


@pytest.mark.parametrize(
    "mask",
    [
        {},
        {"size": [4, 5]},
        {"size": 4, "counts": [20]},
        {"size": [4, 5], "counts": [3, 4]},
        {"size": [4, 5], "counts": [30, -10]},
        {"size": [4, 5], "counts": [[1, 2], [3, 14]]},
        {"size": [4, 5], "counts": "é"},
        {"size": [4, 5], "counts": "P"},
        {"size": [4, 5], "counts": "ooooooooooooooooo0"},
        {"size": [4, 5], "counts": None},
        {"size": [-4, -5], "counts": [3, 17]},
        {"size": [5, 4], "counts": [3, 17]},
    ],
)
def test_a_damaged_mask_is_an_error(mask: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        box_around(mask, (4, 5))
