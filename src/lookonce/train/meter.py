"""Running means of the losses, read only when the log asks: reading makes an accelerator wait."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from lookonce.errors import NonFiniteLossError
from lookonce.train.loss import Losses

TERMS = ("total", "giou", "conf", "prob")
Gather = Callable[[Any], list[Any]]  # what each of the processes has, by rank


@dataclass(frozen=True, slots=True, eq=False)
class MeterState:
    """A meter in the middle of an epoch.

    Attributes:
        images: read out so far.
        sums: of the terms over these.
        unread: (4, n) terms of the images since.
    """

    images: int
    sums: Mapping[str, float]
    unread: Tensor


class LossMeter:
    """Means of the loss terms over images.

    Each of several processes adds what it learnt; what is read is of all of them, and the same for all.

    Attributes:
        images: how many have been read out so far.
    """

    def __init__(self) -> None:
        self.images = 0
        self._sums = dict.fromkeys(TERMS, 0.0)
        self._unread: list[tuple[Tensor, Sequence[Path]]] = []  # (4, B) each

    @classmethod
    def of(cls, state: MeterState) -> Self:
        """Go on where another meter was."""
        meter = cls()
        meter.images, meter._sums = state.images, {term: state.sums[term] for term in TERMS}
        if state.unread.numel():
            meter._unread = [(state.unread, ())]
        return meter

    def state(self) -> MeterState:
        """For a checkpoint.

        Raises:
            NonFiniteLossError: as `read`.
        """
        for terms, paths in self._unread:
            _check_finite(terms, paths)
        unread = [terms.cpu() for terms, _ in self._unread]
        return MeterState(self.images, dict(self._sums), torch.cat([torch.zeros(4, 0), *unread], dim=1))

    def of_all(self, gather: Gather) -> Self:
        """A meter that holds what all processes have added, for a checkpoint.

        Raises:
            NonFiniteLossError: as `read`.
        """
        state = self.state()
        return type(self).of(replace(state, unread=torch.cat(gather(state.unread), dim=1)))

    def drop_unread(self) -> None:
        """Leave what a checkpoint has not read to another process."""
        self._unread.clear()

    def add(self, losses: Losses, paths: Sequence[Path]) -> None:
        """Take in a batch; nothing is read yet, except on a processor, where reading is free.

        Raises:
            NonFiniteLossError: as `read`.
        """
        terms = torch.stack([losses.per_image(), losses.giou, losses.conf, losses.prob]).detach()
        self._unread.append((terms, paths))
        if terms.device.type == "cpu":
            _check_finite(terms, paths)

    def read(self, gather: Gather = lambda mine: [mine]) -> dict[str, float]:
        """Means by term over all processes' batches since the last reading; empty if there were none.

        Raises:
            NonFiniteLossError: a loss was not finite; the images are named.
        """
        for terms, paths in self._unread:
            _check_finite(terms, paths)
        device = self._unread[-1][0].device if self._unread else "cpu"
        terms = torch.cat([torch.zeros(4, 0), *(terms.to(device) for terms, _ in self._unread)], dim=1)
        self._unread.clear()
        parts = gather((terms.shape[1], terms.sum(dim=1).tolist()))
        images = sum(count for count, _ in parts)
        if not images:
            return {}
        sums = [sum(column) for column in zip(*(sums for _, sums in parts), strict=True)]
        self.images += images
        for term, value in zip(TERMS, sums, strict=True):
            self._sums[term] += value
        return {term: value / images for term, value in zip(TERMS, sums, strict=True)}

    def means(self) -> dict[str, float]:
        """Means by term over everything read so far."""
        return {term: value / max(self.images, 1) for term, value in self._sums.items()}


def _check_finite(terms: Tensor, paths: Sequence[Path]) -> None:
    finite = torch.isfinite(terms[0])
    if not finite.all():
        names = [str(path) for path, good in zip(paths, finite.tolist(), strict=True) if not good]
        raise NonFiniteLossError(
            f"the loss is not finite on {', '.join(names)}: look at these images' boxes, lower the rate "
            "(--set optimizer.rate=...), clip gradients (--set optimizer.clip=10), or leave such batches out "
            "(--set loss.non_finite=skip)"
        )
