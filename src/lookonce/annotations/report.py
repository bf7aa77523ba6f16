"""Report the data that was recognized, and the number of problems of each kind."""

import re
from collections.abc import Iterable, Mapping
from itertools import groupby

from rich.console import Console

from lookonce._terminal import say
from lookonce.samples import Outcome, Problem, SampleSet

SHOWN = 3  # problems printed in full per kind; only one of those that are merely noted
MOST_KINDS = 30  # printed
OUTCOMES: tuple[Outcome, ...] = ("skipped", "repaired", "noted")  # gravest first


def say_samples(sets: Mapping[str, SampleSet], console: Console) -> int:
    """Print the data that was read, split by split, and the problems.

    Returns:
        The exit code: 1 where something was skipped or repaired, else 0.
    """
    for found in sets.values():
        say(found.describe(), console)
    return say_problems((problem for found in sets.values() for problem in found.problems), console)


def say_problems(problems: Iterable[Problem], console: Console) -> int:
    """Count problems by outcome and kind, and print the first of each kind.

    Problems that are only noted need no action; they get one line per kind, with the count.

    Returns:
        The exit code: 1 where something was skipped or repaired, else 0.
    """
    distinct = sorted(dict.fromkeys(problems), key=_kind)  # stable: the file's order within a kind
    kinds = [(OUTCOMES[number], list(same)) for (number, _), same in groupby(distinct, key=_kind)]
    for outcome, alike in kinds[:MOST_KINDS]:
        if outcome == "noted" and len(alike) > 1:
            say(f"  noted: {alike[0]}; {len(alike)} like this in all", console)
            continue
        for problem in alike[:SHOWN]:
            say(f"  {outcome}: {problem}", console)
        if len(alike) > SHOWN:
            say(f"  {outcome}: {len(alike) - SHOWN} more like the last, {len(alike)} in all", console)
    if further := sum(len(alike) for _, alike in kinds[MOST_KINDS:]):
        say(f"  and {further} more of {len(kinds) - MOST_KINDS} other kinds", console)
    if distinct:
        say(", ".join(f"{count} {outcome}" for outcome, count in count_problems(distinct).items()), console)
    return int(any(problem.outcome != "noted" for problem in distinct))


def count_problems(problems: Iterable[Problem]) -> dict[str, int]:
    """Count problems by outcome."""
    outcomes = [problem.outcome for problem in dict.fromkeys(problems)]
    return {outcome: outcomes.count(outcome) for outcome in OUTCOMES}


def _kind(problem: Problem) -> tuple[int, str]:
    """Return the key by which problems are grouped: the outcome, and the text without numbers and quotes."""
    # a long quotation may lack its end
    return OUTCOMES.index(problem.outcome), re.sub(r"'[^']*('|$)|[-+.\d]+", "#", problem.what)
