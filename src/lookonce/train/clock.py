"""Plan the length of a run: a number of epochs, or with `minutes` as many steps as the measured speed allows.

```
time   │ used so far │ steps that still fit, and the evaluations between │ last evaluation, checkpoint │
rate   │  ╱‾‾╲_                                        ╲__              │                             │
       0            now                                                                        minutes
```

After every step, the number of steps of the whole run is estimated again, and the learning rate takes the
value that it has at this step in a run of that length. So the schedule follows the time even if the speed
changes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from lookonce.metadata import ClockState
from lookonce.train.parallel import ALONE, Group
from lookonce.train.schedule import Schedule

UNSTEADY = 2  # first steps of a process, which are slower than the others and so are not measured
REMEMBERED = 10  # steps for which the pace of an earlier process counts
SHORTEST_WARMUP = 10  # steps: an early estimate may be far off, and the rate must not jump with it


@dataclass(slots=True)
class Clock:
    """Time of a run in seconds, including that of earlier processes if the run was resumed.

    Attributes:
        total: planned length of the run.
        started: reading of `now` when this process started.
        now: the clock to read.
        before: time used by earlier processes.
        pace: time per step, measured by earlier processes; 0 if unknown.
        closing: expected time of the last evaluation and its checkpoints; None if unknown.
        closed: the `total` at which the run has ended; 0 while it runs.
    """

    total: float
    started: float
    now: Callable[[], float] = time.monotonic
    before: float = 0.0
    pace: float = 0.0
    closing: float | None = None
    closed: float = 0.0
    _steps: int = field(default=0, init=False)  # steps since `_since`; below 1 during the unsteady ones
    _since: float = field(default=0.0, init=False)
    _unsteady: float = field(default=0.0, init=False)  # seconds per unsteady step
    _apart: float = field(default=0.0, init=False)  # seconds since then that were not spent on training

    @property
    def used(self) -> float:
        """Return the seconds used so far."""
        return self.before + self.now() - self.started

    def begin(self) -> None:
        """Record that the first step begins."""
        self._since, self._steps, self._apart = self.now(), -UNSTEADY, 0.0

    def step_done(self) -> None:
        """Record that a step is done; the first `UNSTEADY` ones are not measured."""
        self._steps += 1
        if self._steps <= 0:
            self._unsteady = (self.now() - self._since - self._apart) / (self._steps + UNSTEADY)
        if self._steps == 0:
            self._since, self._apart = self.now(), 0.0

    def apart(self, seconds: float) -> None:
        """Leave out of the pace some time that was not spent on training."""
        self._apart += seconds

    def seconds_per_step(self) -> float:
        """Return the measured pace; during the first steps, the pace of an earlier process counts too."""
        if self._steps <= 0:
            return self.pace or self._unsteady
        earlier = REMEMBERED if self.pace else 0
        measured = self.now() - self._since - self._apart
        return (measured + earlier * self.pace) / (self._steps + earlier)

    def left(self) -> float:
        """Return the seconds left for training and the evaluations between."""
        return self.total - self.used - (self.closing or 0.0)

    def fits_evaluation(self) -> bool:
        """Return whether an evaluation now would leave at least as much time for training as it takes."""
        return self.left() >= 2 * (self.closing or 0.0)

    def steps_that_fit(self, until: int, between: int) -> int:
        """Return how many more steps fit into the time.

        Args:
            until: number of steps until the next evaluation.
            between: number of steps between two evaluations after that.
        """
        pace, closing, left = max(self.seconds_per_step(), 1e-6), self.closing or 0.0, self.left()
        spare = left - 2 * closing - until * pace  # at the next evaluation, beyond what it takes to fit
        evaluations = 1 + spare // (between * pace + closing) if spare >= 0 else 0
        return max(0, round((left - evaluations * closing) / pace))

    def state(self) -> ClockState:
        """Return the state for a checkpoint."""
        steady = self._steps > 0 or self.pace
        return {
            "used": self.used,
            "pace": self.seconds_per_step() if steady else 0.0,
            "closing": self.closing or 0.0,
            "closed": self.closed,
        }

    def restore(self, state: ClockState) -> None:
        """Continue from a state."""
        self.before, self.pace, self.closed = state["used"], state["pace"], state["closed"]
        self.closing = state["closing"] or None


class Course:
    """The learning rate of every step, and the end of the run.

    Attributes:
        schedule: learning rate by step; with a clock, it is replaced after every step.
        steps: number of steps of the whole run, as currently planned.
        clock: clock of a run with `minutes`; only the first process plans by it.
    """

    def __init__(
        self, schedule: Schedule, clock: Clock | None = None, between: int = 1, group: Group = ALONE
    ) -> None:
        """Plan a run.

        Args:
            schedule: learning rate according to the settings.
            clock: clock of a run with `minutes`; None for a run with `epochs`.
            between: number of steps between two evaluations.
            group: processes of the run.
        """
        self.schedule, self.steps, self.clock = schedule, schedule.steps, clock
        self._planned, self._between, self._group = schedule, between, group

    def step_done(self, number: int) -> bool:
        """Return whether step `number`, counted from 1, was the last one."""
        clock, between, planned = self.clock, self._between, self._planned
        if clock is not None:
            clock.step_done()
            self.steps = self._group.on_first(
                lambda: number + clock.steps_that_fit(-number % between, between)
            )
            # the warm-up takes its share of the run, but no more steps than planned
            warmup = max(round(planned.warmup * self.steps / planned.steps), SHORTEST_WARMUP)
            warmup = min(warmup, planned.warmup)
            self.schedule = replace(planned, warmup=warmup, steps=max(self.steps, warmup))
        return number >= self.steps
