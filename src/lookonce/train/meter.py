"""Average the losses; read them from the GPU only for the log, because each reading waits for the GPU."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from lookonce.errors import NonFiniteLossError
from lookonce.train.loss import Losses

TERMS = ("total", "giou", "conf", "prob")
Gather = Callable[[Any], list[Any]]  # collects a value from every process, by rank


@dataclass(frozen=True, slots=True, eq=False)
class MeterState:
    """State of a meter within an epoch.

    Attributes:
        images: number of images whose losses were read so far.
        sums: sums of the loss terms over these images, by name.
        unread: (4, n) loss terms of the n images since the last reading, in the order of `TERMS`.
    """

    images: int
    sums: Mapping[str, float]
    unread: Tensor


class LossMeter:
    """Means of the loss terms over images.

    Each process adds its own images; a reading covers the images of all processes and returns the same result
    in each of them.

    Attributes:
        images: number of images whose losses were read so far.
    """

    def __init__(self) -> None:
        self.images = 0
        self._sums = dict.fromkeys(TERMS, 0.0)
        self._unread: list[tuple[Tensor, Sequence[Path]]] = []  # (4, B) each

    @classmethod
    def of(cls, state: MeterState) -> Self:
        """Continue from a state."""
        meter = cls()
        meter.images, meter._sums = state.images, {term: state.sums[term] for term in TERMS}
        if state.unread.numel():
            meter._unread = [(state.unread, ())]
        return meter

    def state(self, gather: Gather = lambda value: [value]) -> MeterState:
        """Return the state for a checkpoint, with the images of all processes.

        Raises:
            NonFiniteLossError: as `read`.
        """
        for terms, paths in self._unread:
            _check_finite(terms, paths)
        unread_terms = torch.cat([torch.zeros(4, 0), *(terms.cpu() for terms, _ in self._unread)], dim=1)
        return MeterState(self.images, dict(self._sums), torch.cat(gather(unread_terms), dim=1))

    def add(self, losses: Losses, paths: Sequence[Path]) -> None:
        """Add the losses of a batch without reading them, except on a CPU, where reading costs nothing.

        Raises:
            NonFiniteLossError: as `read`.
        """
        terms = torch.stack([losses.per_image(), losses.giou, losses.conf, losses.prob]).detach()
        self._unread.append((terms, paths))
        if terms.device.type == "cpu":
            _check_finite(terms, paths)

    def read(self, gather: Gather = lambda value: [value]) -> dict[str, float]:
        """Return the mean of each term since the last reading, over all processes; empty without images.

        Raises:
            NonFiniteLossError: a loss is not finite; the message names the images.
        """
        for terms, paths in self._unread:
            _check_finite(terms, paths)
        device = self._unread[-1][0].device if self._unread else "cpu"
        terms = torch.cat(
            [torch.zeros(4, 0, device=device), *(terms.to(device) for terms, _ in self._unread)], dim=1
        )
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
        """Return the mean of each term over all images read so far, by name."""
        return {term: value / max(self.images, 1) for term, value in self._sums.items()}


def _check_finite(terms: Tensor, paths: Sequence[Path]) -> None:
    finite = torch.isfinite(terms[0])
    if not finite.all():
        names = [str(path) for path, good in zip(paths, finite.tolist(), strict=True) if not good]
        raise NonFiniteLossError(
            f"the loss is not finite on {', '.join(names)}: check the boxes of these images, lower "
            "optimizer.rate, clip gradients (optimizer.clip=10), or skip such batches (loss.non_finite=skip)"
        )
