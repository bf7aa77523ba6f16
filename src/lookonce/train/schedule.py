"""The learning rate over a run: warm-up, then half a cosine (the write-up's `train_step`).

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
    """Rate of each optimizer step; steps count from 1.

    Unlike the reference (its fault 7) the schedule holds from the first step, a warm-up as long as the run
    is cut to it, and past the last step the rate stays at its end value.

    Attributes:
        rate: after warm-up.
        end_rate: at the last step.
        warmup: steps.
        steps: of the whole run.
    """

    rate: float
    end_rate: float
    warmup: int
    steps: int

    def __call__(self, step: int) -> float:
        """The rate for update `step`, 1 for the first."""
        warmup = min(self.warmup, self.steps)
        if step < warmup:
            return self.rate * step / warmup
        if step >= self.steps:
            return self.end_rate if self.steps > warmup else self.rate
        progress = (step - warmup) / (self.steps - warmup)
        return self.end_rate + (self.rate - self.end_rate) * (1 + math.cos(math.pi * progress)) / 2
