"""Print what data was recognized, and its problems by kind."""

import re
from collections.abc import Iterable, Mapping
from itertools import groupby

from rich.console import Console

from lookonce._terminal import say
from lookonce.samples import Outcome, Problem, SampleSet

SHOWN = 3  # number of problems printed per kind; of a kind that is only noted, one is printed
MOST_KINDS = 30  # number of kinds printed
OUTCOMES: tuple[Outcome, ...] = ("skipped", "repaired", "noted")  # gravest first


def say_samples(sets: Mapping[str, SampleSet], console: Console) -> int:
    """Print the data that was read, split by split, and the problems.

    Returns:
        The exit code: 1 if something was skipped or repaired, else 0.
    """
    for found in sets.values():
        say(found.describe(), console)
    return say_problems((problem for found in sets.values() for problem in found.problems), console)


def say_problems(problems: Iterable[Problem], console: Console) -> int:
    """Count problems by outcome and kind, and print the first of each kind.

    Problems that are only noted need no action; they get one line per kind, with the count.

    Returns:
        The exit code: 1 if something was skipped or repaired, else 0.
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
    # a quotation that was cut because of its length has no closing quote
    return OUTCOMES.index(problem.outcome), re.sub(r"'[^']*('|$)|[-+.\d]+", "#", problem.what)
