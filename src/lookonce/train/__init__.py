"""Train a network: loss, schedule, loop and checkpoints."""

from lookonce._callable import make_callable

make_callable(__name__)
