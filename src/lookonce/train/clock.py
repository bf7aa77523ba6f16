"""Plan the length of a run: a number of epochs or, with `minutes`, as many steps as the time allows.

```
time   │ used so far │ steps that still fit, and the evaluations between │ last evaluation, checkpoint │
rate   │  ╱‾‾╲_                                        ╲__              │                             │
       0            now                                                                        minutes
```

After every step, the number of steps of the whole run is estimated again from the measured speed, and the
next step takes its learning rate from a schedule of that length. The schedule thus fits the available time
even if the speed changes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from lookonce.metadata import ClockState
from lookonce.train.parallel import ALONE, Group
from lookonce.train.schedule import Schedule

UNSTEADY = 2  # first steps of a process, which are slower than the others and not measured
REMEMBERED = 10  # weight, in steps, of the pace measured by an earlier process
SHORTEST_WARMUP = 10  # steps; keeps the learning rate from jumping with inaccurate early estimates


@dataclass(slots=True)
class Clock:
    """Time of a run in seconds, including earlier processes of a resumed run.

    Attributes:
        total: planned length of the run.
        started: value of `now()` when this process started.
        now: clock that returns seconds.
        before: time used by earlier processes.
        pace: time per step, measured by earlier processes; 0 if unknown.
        closing: expected time of the last evaluation and its checkpoints; None if unknown.
        closed: `total` at which the run ended; 0 while it runs.
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
    _apart: float = field(default=0.0, init=False)  # seconds since `_since` not spent on training

    @property
    def used(self) -> float:
        """Return the seconds used so far."""
        return self.before + self.now() - self.started

    def begin(self) -> None:
        """Record the start of the first step."""
        self._since, self._steps, self._apart = self.now(), -UNSTEADY, 0.0

    def step_done(self) -> None:
        """Record the end of a step; the pace leaves out the first `UNSTEADY` steps."""
        self._steps += 1
        if self._steps <= 0:
            self._unsteady = (self.now() - self._since - self._apart) / (self._steps + UNSTEADY)
        if self._steps == 0:
            self._since, self._apart = self.now(), 0.0

    def apart(self, seconds: float) -> None:
        """Exclude seconds that were not spent on training from the pace."""
        self._apart += seconds

    def seconds_per_step(self) -> float:
        """Return the measured pace, combined with that of an earlier process during the first steps."""
        if self._steps <= 0:
            return self.pace or self._unsteady
        earlier = REMEMBERED if self.pace else 0
        measured = self.now() - self._since - self._apart
        return (measured + earlier * self.pace) / (self._steps + earlier)

    def left(self) -> float:
        """Return the seconds left for training and all evaluations but the last."""
        return self.total - self.used - (self.closing or 0.0)

    def fits_evaluation(self) -> bool:
        """Return whether an evaluation now would leave at least as much time for training as it takes."""
        return self.left() >= 2 * (self.closing or 0.0)

    def steps_that_fit(self, until: int, between: int) -> int:
        """Return how many more steps fit into the remaining time.

        Args:
            until: number of steps until the next evaluation.
            between: number of steps between two evaluations after that.
        """
        pace, closing, left = max(self.seconds_per_step(), 1e-6), self.closing or 0.0, self.left()
        spare = left - 2 * closing - until * pace  # at the next evaluation, see `fits_evaluation`
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
    """Learning rate of every step, and the end of the run.

    Attributes:
        schedule: learning rate by step; replaced after every step if there is a clock.
        steps: number of steps of the whole run, as currently planned.
        clock: clock of a run with `minutes`; only the first process uses it to plan.
    """

    def __init__(
        self, schedule: Schedule, clock: Clock | None = None, between: int = 1, group: Group = ALONE
    ) -> None:
        """Plan a run.

        Args:
            schedule: learning rate and number of steps according to the settings.
            clock: clock of a run with `minutes`; None for a run with `epochs`.
            between: number of steps between two evaluations.
            group: processes of the run.
        """
        self.schedule, self.steps, self.clock = schedule, schedule.steps, clock
        self._planned, self._between, self._group = schedule, between, group

    def step_done(self, number: int) -> bool:
        """Plan the rest of the run; return whether step `number`, counted from 1, was the last one."""
        clock, between, planned = self.clock, self._between, self._planned
        if clock is not None:
            clock.step_done()
            self.steps = self._group.on_first(
                lambda: number + clock.steps_that_fit(-number % between, between)
            )
            # keep the warm-up's share of the run, but never exceed its planned number of steps
            warmup = max(round(planned.warmup * self.steps / planned.steps), SHORTEST_WARMUP)
            warmup = min(warmup, planned.warmup)
            self.schedule = replace(planned, warmup=warmup, steps=max(self.steps, warmup))
        return number >= self.steps
