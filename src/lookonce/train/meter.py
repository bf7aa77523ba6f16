"""Running means of the losses, read only when the log asks: reading makes an accelerator wait."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lookonce.errors import TrainingError
from lookonce.train.loss import Losses

TERMS = ("total", "giou", "conf", "prob")


class LossMeter:
    """Means of the loss terms over pictures.

    Attributes:
        pictures: how many have been read out so far.
    """

    def __init__(self) -> None:
        self.pictures = 0
        self._sums = dict.fromkeys(TERMS, 0.0)
        self._unread: list[tuple[Tensor, Sequence[Path]]] = []  # (4, B) each

    def add(self, losses: Losses, paths: Sequence[Path]) -> None:
        """Take in a batch; nothing is read yet, except on a processor, where reading is free.

        Raises:
            TrainingError: as `read`.
        """
        terms = torch.stack([losses.per_picture(), losses.giou, losses.conf, losses.prob]).detach()
        self._unread.append((terms, paths))
        if terms.device.type == "cpu":
            _check_finite(terms, paths)

    def read(self) -> dict[str, float]:
        """Means by term over the batches since the last reading.

        Raises:
            TrainingError: a loss was not finite; the pictures are named.
        """
        for terms, paths in self._unread:
            _check_finite(terms, paths)
        sums = torch.cat([terms for terms, _ in self._unread], dim=1).sum(dim=1).tolist()
        pictures = sum(len(paths) for _, paths in self._unread)
        self._unread.clear()
        self.pictures += pictures
        for term, value in zip(TERMS, sums, strict=True):
            self._sums[term] += value
        return {term: value / pictures for term, value in zip(TERMS, sums, strict=True)}

    def means(self) -> dict[str, float]:
        """Means by term over everything read so far."""
        return {term: value / max(self.pictures, 1) for term, value in self._sums.items()}


def _check_finite(terms: Tensor, paths: Sequence[Path]) -> None:
    finite = torch.isfinite(terms[0])
    if not finite.all():
        names = [str(path) for path, good in zip(paths, finite.tolist(), strict=True) if not good]
        raise TrainingError(
            f"the loss is not finite on {', '.join(names)}: look at these pictures' boxes, "
            "or lower the rate (--set optimizer.rate=...) or clip gradients (--set optimizer.clip=10)"
        )
