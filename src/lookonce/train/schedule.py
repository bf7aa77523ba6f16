"""Compute the learning rate over a run: warm-up, then half a cosine (the write-up's `train_step`).

```
rate │    ╭──╮
     │   ╱     ╲          rate(step) = rate * step / warmup                      while warming up
     │  ╱        ╲                     end + (rate - end) / 2 * (1 + cos(pi * t))  afterwards,
     │ ╱           ╰───   t from 0 to 1 over the rest of the run
     └──────────────────► step
```
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """Learning rate of each optimizer step, counted from 1.

    Unlike the reference (its fault 7), the schedule applies from the first step, shortens a warm-up that is
    longer than the run, and keeps the rate at its end value after the last step.

    Attributes:
        rate: learning rate after warm-up.
        end_rate: learning rate at the last step.
        warmup: number of warm-up steps.
        steps: number of steps of the whole run.
    """

    rate: float
    end_rate: float
    warmup: int
    steps: int

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step, counted from 1."""
        warmup = min(self.warmup, self.steps)
        if step < warmup:
            return self.rate * step / warmup
        if step >= self.steps:
            return self.end_rate if self.steps > warmup else self.rate
        progress = (step - warmup) / (self.steps - warmup)
        return self.end_rate + (self.rate - self.end_rate) * (1 + math.cos(math.pi * progress)) / 2
