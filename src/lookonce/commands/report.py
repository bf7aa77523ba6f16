"""How commands speak of annotations: what was recognised, and what was odd, all of it counted."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from rich.console import Console

from lookonce.samples import Outcome, Problem, SampleSet

SHOWN = 3  # problems of a kind that are printed in full; of what is only noted, one
OUTCOMES: tuple[Outcome, ...] = ("skipped", "repaired", "noted")  # gravest first


def say_samples(sets: Mapping[str, SampleSet], console: Console) -> int:
    """Say aloud what was read, split by split, and what was odd about it.

    Returns:
        The exit code: 1 where something was skipped or repaired, else 0.
    """
    for found in sets.values():
        say(found.describe(), console)
    return say_problems((problem for found in sets.values() for problem in found.problems), console)


def say_problems(problems: Iterable[Problem], console: Console) -> int:
    """Count problems by outcome and kind, and print the first of each kind.

    What is only noted needs nobody to do anything: one line for each kind, with its count.

    Returns:
        The exit code: 1 where something was skipped or repaired, else 0.
    """
    distinct = sorted(dict.fromkeys(problems), key=_kind)  # stable: the file's order within a kind
    for (outcome, _), same in groupby(distinct, key=_kind):
        for line in _lines(OUTCOMES[outcome], list(same)):
            say(f"  {line}", console)
    if distinct:
        say(", ".join(f"{count} {outcome}" for outcome, count in count_problems(distinct).items()), console)
    return int(any(problem.outcome != "noted" for problem in distinct))


def count_problems(problems: Iterable[Problem]) -> dict[str, int]:
    """Outcome -> how many problems had it."""
    outcomes = [problem.outcome for problem in dict.fromkeys(problems)]
    return {outcome: outcomes.count(outcome) for outcome in OUTCOMES}


def say(text: str, console: Console) -> None:
    """Print as it is: no markup, no colours by guess, no line breaks inside a path."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _lines(outcome: Outcome, alike: Sequence[Problem]) -> list[str]:
    """What to print of problems of one kind."""
    if outcome == "noted" and len(alike) > 1:
        return [f"noted: {alike[0]}; {len(alike)} such in all"]
    lines = [f"{outcome}: {problem}" for problem in alike[:SHOWN]]
    if len(alike) > SHOWN:
        lines.append(f"{outcome}: {len(alike) - SHOWN} more like the last, {len(alike)} in all")
    return lines


def _kind(problem: Problem) -> tuple[int, str]:
    """Problems are alike when their outcome is and their text is but for numbers and quoted words."""
    return OUTCOMES.index(problem.outcome), re.sub(r"'[^']*'|[-+.\d]+", "#", problem.what)
