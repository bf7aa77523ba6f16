"""Print a summary of the data that was read, and its problems by kind."""

import re
from collections.abc import Iterable, Mapping
from itertools import groupby

from rich.console import Console

from lookonce._terminal import say
from lookonce.samples import Outcome, Problem, SampleSet

SHOWN = 3  # most problems printed per kind; only one if it is just noted
MOST_KINDS = 30  # most kinds printed
OUTCOMES: tuple[Outcome, ...] = ("skipped", "repaired", "noted")  # most severe first


def say_samples(sets: Mapping[str, SampleSet], console: Console) -> int:
    """Print a summary of each split, and the problems.

    Returns:
        Exit code: 1 if something was skipped or repaired, else 0.
    """
    for found in sets.values():
        say(found.describe(), console)
    return say_problems((problem for found in sets.values() for problem in found.problems), console)


def say_problems(problems: Iterable[Problem], console: Console) -> int:
    """Print the first problems of each kind, and the number of problems by outcome.

    Problems that are only noted need no action and get one line per kind.

    Returns:
        Exit code: 1 if something was skipped or repaired, else 0.
    """
    distinct = sorted(dict.fromkeys(problems), key=_kind)  # stable: keeps file order within a kind
    kinds = [(OUTCOMES[number], list(same)) for (number, _), same in groupby(distinct, key=_kind)]
    for outcome, alike in kinds[:MOST_KINDS]:
        if outcome == "noted" and len(alike) > 1:
            say(f"  noted: {alike[0]}; {len(alike)} like this in all", console)
            continue
        for problem in alike[:SHOWN]:
            say(f"  {outcome}: {problem}", console)
        if len(alike) > SHOWN:
            say(f"  {outcome}: {len(alike) - SHOWN} more of the same kind, {len(alike)} in all", console)
    if remaining := sum(len(alike) for _, alike in kinds[MOST_KINDS:]):
        say(f"  and {remaining} more of {len(kinds) - MOST_KINDS} other kinds", console)
    if distinct:
        say(", ".join(f"{count} {outcome}" for outcome, count in count_problems(distinct).items()), console)
    return int(any(problem.outcome != "noted" for problem in distinct))


def count_problems(problems: Iterable[Problem]) -> dict[str, int]:
    """Count the distinct problems by outcome."""
    outcomes = [problem.outcome for problem in dict.fromkeys(problems)]
    return {outcome: outcomes.count(outcome) for outcome in OUTCOMES}


def _kind(problem: Problem) -> tuple[int, str]:
    """Return the key to group a problem by: its outcome, and its text without numbers and quotations."""
    # a quotation that was truncated has no closing quote
    return OUTCOMES.index(problem.outcome), re.sub(r"'[^']*('|$)|[-+.\d]+", "#", problem.what)
