"""Compare the building blocks with results computed by hand."""

import torch

from lookonce.model.blocks import SpatialPyramidPooling


def test_pyramid_pooling_stacks_13_9_5_and_the_input() -> None:
    spot = torch.zeros(1, 1, 15, 15)
    spot[0, 0, 7, 7] = 1

    pooled = SpatialPyramidPooling()(spot)

    assert pooled.shape == (1, 4, 15, 15)
    assert pooled[0].sum(dim=(1, 2)).tolist() == [13 * 13, 9 * 9, 5 * 5, 1]
    assert (pooled[0, 1, 3:12, 3:12] == 1).all()
