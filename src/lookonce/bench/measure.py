"""Measure all contenders in turn, round after round, so that a slow minute affects all of them equally."""

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
SHORTEST_TURN = 0.3  # seconds; turns of fast contenders get more batches


@dataclass(frozen=True, slots=True)
class BenchEntry:
    """A row to measure.

    Attributes:
        label: name in the table.
        open: function from a case to the function to time, called in a separate process.
        check: function called before, in another process that is not measured; may raise an error.
    """

    label: str
    open: Callable[[BenchCase], Run]
    check: Callable[[BenchCase], Run] | None = None

    @classmethod
    def of(cls, contender: Contender, files: Files, label: str = "") -> Self:
        """Return the row for a contender with a model."""
        check = None if contender.check is None else partial(contender.check, files)
        return cls(label or contender.name, partial(contender.open, files), check)


@dataclass(frozen=True, slots=True)
class Result:
    """The measurements of one row.

    Attributes:
        label: name in the table.
        case: input size, batch size and threads.
        turns: milliseconds of each batch, round by round; empty if the contender cannot run.
        peak_mib: peak memory of the whole process in MiB; NaN if unknown.
        opening_seconds: seconds from opening the model to the end of the warm-up.
        error: reason why the contender cannot run; empty if it can.
    """

    label: str
    case: BenchCase
    turns: tuple[tuple[float, ...], ...] = ()
    peak_mib: float = math.nan
    opening_seconds: float = math.nan
    error: str = ""

    def percentile(self, share: float) -> float:
        """Return a percentile (0 to 100) of the milliseconds per batch; NaN without measurements."""
        return float(np.percentile(np.concatenate(self.turns), share)) if self.turns else math.nan

    @property
    def per_second(self) -> float:
        """Return the images per second of the median batch."""
        return 1000 * self.case.batch / self.percentile(50)

    def ratio(self, other: "Result") -> float:
        """Return the time of this row divided by that of another, as the median over the rounds."""
        pairs = zip(self.turns, other.turns, strict=False)
        ratios = [float(np.median(own) / np.median(others)) for own, others in pairs]
        return float(np.median(ratios)) if ratios else math.nan


@dataclass(slots=True)
class _Running:
    """A row that is being measured."""

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
    """Measure all rows in turn.

    Args:
        entries: rows to measure.
        case: input size, batch size and threads.
        rounds: turns per row; the first batch of a turn is a warm-up and does not count.
        advance: function called with the label of a row when it is opened, and after each of its turns.

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
