"""Loss, schedule, loop, checkpoints."""

from lookonce._callable import make_callable

make_callable(__name__)
