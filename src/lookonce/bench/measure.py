"""Measure all contenders in turn, round after round, so a slow minute of the machine affects all equally."""

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Self

import numpy as np

from lookonce.bench.contenders import BenchCase, Contender, Run
from lookonce.bench.files import Files
from lookonce.bench.worker import Turn, Worker
from lookonce.errors import ContenderError

ROUNDS = 10
SHORTEST_TURN = 0.3  # seconds; a turn of a fast contender has more batches


@dataclass(frozen=True, slots=True)
class BenchEntry:
    """A row to measure.

    Attributes:
        label: name in the table.
        open: makes the function to time in a case, in a process of its own.
        check: called first, in another process whose time and memory do not count; may raise an error.
    """

    label: str
    open: Callable[[BenchCase], Run]
    check: Callable[[BenchCase], Run] | None = None

    @classmethod
    def of(cls, contender: Contender, files: Files, label: str = "") -> Self:
        """Return the row of a contender on a model."""
        check = None if contender.check is None else partial(contender.check, files)
        return cls(label or contender.name, partial(contender.open, files), check)


@dataclass(frozen=True, slots=True)
class Result:
    """Measurements of one row.

    Attributes:
        label: name in the table.
        case: size, batch, threads.
        turns: milliseconds of each batch, round by round; empty if it could not run.
        peak_mib: peak memory of its process, everything included; NaN if unknown.
        opening_seconds: seconds from opening the model to the end of the warm-up.
        error: why it could not run; empty if it could.
    """

    label: str
    case: BenchCase
    turns: tuple[tuple[float, ...], ...] = ()
    peak_mib: float = math.nan
    opening_seconds: float = math.nan
    error: str = ""

    def percentile(self, share: float) -> float:
        """Return the `share` percentile of milliseconds per batch; NaN without any."""
        return float(np.percentile(np.concatenate(self.turns), share)) if self.turns else math.nan

    @property
    def per_second(self) -> float:
        """Return images per second, from the median batch."""
        return 1000 * self.case.batch / self.percentile(50)

    def ratio(self, other: "Result") -> float:
        """Return this row's time divided by the other's: the median of the ratios within each round."""
        pairs = zip(self.turns, other.turns, strict=False)
        ratios = [float(np.median(mine) / np.median(theirs)) for mine, theirs in pairs]
        return float(np.median(ratios)) if ratios else math.nan


@dataclass(slots=True)
class _Running:
    """A row while it is measured."""

    entry: BenchEntry
    worker: Worker
    batches: int
    turns: list[Turn] = field(default_factory=list)

    def result(self, case: BenchCase) -> Result:
        turns = tuple(tuple(1000 * seconds for seconds in turn.seconds[1:]) for turn in self.turns)
        peak = self.turns[-1].peak_bytes if self.turns else None
        return Result(
            self.entry.label,
            case,
            turns,
            peak_mib=math.nan if peak is None else peak / 2**20,
            opening_seconds=self.worker.opening_seconds,
        )


def measure(
    entries: Sequence[BenchEntry],
    case: BenchCase,
    *,
    rounds: int = ROUNDS,
    advance: Callable[[str], None] = lambda label: None,
) -> list[Result]:
    """Measure every row in one run.

    Args:
        entries: the rows.
        case: size, batch, threads.
        rounds: turns per row; the first batch of a turn wakes the process and is not counted.
        advance: called with a row's label after it was opened, and after each of its turns.

    Returns:
        One result per row, in order; `error` is set for a row that cannot run.
    """
    failed: dict[int, str] = {}
    running: dict[int, _Running] = {}
    with ExitStack() as stack:
        for number, entry in enumerate(entries):
            try:
                if entry.check is not None:
                    Worker(entry.label, partial(entry.check, case)).close()
                worker = stack.enter_context(Worker(entry.label, partial(entry.open, case)))
                batches = max(2, math.ceil(SHORTEST_TURN / worker.run(1).seconds[-1]))
                running[number] = _Running(entry, worker, batches)
            except ContenderError as error:
                failed[number] = str(error)
            advance(entry.label)
        for _ in range(rounds):
            for number, row in list(running.items()):
                try:
                    row.turns.append(row.worker.run(1 + row.batches))
                except ContenderError as error:
                    failed[number] = str(error)
                    del running[number]
                advance(row.entry.label)
    return [
        Result(entry.label, case, error=failed[number]) if number in failed else running[number].result(case)
        for number, entry in enumerate(entries)
    ]
