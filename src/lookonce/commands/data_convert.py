"""`lookonce data convert`: annotations from one format to another."""

from pathlib import Path

from rich.console import Console

from lookonce.annotations import check_target, load_splits, write_samples
from lookonce.commands.report import say, say_problems, say_samples


def convert(data: Path, to: str, out: Path, names: Path | None, *, strict: bool) -> int:
    """Write every split of `data` into the folder `out`.

    Returns:
        0 done, 1 done but something was skipped, repaired or had no place in the format.
    """
    check_target(to, out)
    console = Console(stderr=True)
    sets = load_splits(data, names, strict)
    read = say_samples(sets, console)
    written, lost = write_samples(sets, to, out)
    code = say_problems(lost, console)
    say(f"written as {to}: {written} ({', '.join(sets)})", console)
    return max(read, code)
