"""Run lookonce on hostile inputs, one process each: `python -m tests.hostile.run --kind images --every 9`.

Each input is read alone and, if a run reads several inputs, among good ones. Required are exit code 1 or 2 (0
only for unusual but valid input), a short one-line error, no traceback, no control characters, at most ten
seconds and one GiB of memory, and unchanged inputs; among good inputs, also the same results for these as
without the hostile one. `--folder DIR` runs the cases in a folder instead.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.hostile.cases import KINDS
from tests.hostile.given import given_cases
from tests.hostile.limits import Case, complaints, run, state


def main() -> int:
    """Run the chosen cases; the exit code is 1 if one of them failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this kind of input")
    parser.add_argument("--folder", type=Path, action="append", help="the cases in this folder")
    parser.add_argument("--every", type=int, default=1, help="only each N-th case of a kind")
    parser.add_argument("--name", default="", help="only inputs with this in their name")
    parser.add_argument(
        "--pick",
        action="append",
        type=lambda text: text.split("="),
        default=[],
        help="KIND=N or KIND=NAME: of this kind only each N-th case, or inputs with this in their name",
    )
    parser.add_argument("--all", action="store_true", help="print every run, not only what went wrong")
    chosen = parser.parse_args()
    kinds: dict[str, Callable[[Path], Iterator[Case]]] = {
        folder.name: partial(given_cases, folder) for folder in chosen.folder or ()
    } or {kind: KINDS[kind] for kind in chosen.kind or dict(chosen.pick) or KINDS}
    wrong = count = 0
    slowest = largest = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["LOOKONCE_CACHE"] = str(Path(scratch) / "cache")
        for kind, cases in kinds.items():
            pick = dict(chosen.pick).get(kind, "")
            every = int(pick) if pick.isdecimal() else chosen.every
            name = chosen.name if pick.isdecimal() else pick or chosen.name
            earlier = count
            for number, case in enumerate(cases(Path(scratch) / kind)):
                if number % every or name not in case.folder.name:
                    continue
                case.prepare()
                before = state(case.folder) if case.keeps else {}
                ran = run(case.command, case.folder)
                found = list(complaints(case, ran, before))
                count += 1
                wrong += bool(found)
                slowest, largest = max(slowest, ran.seconds), max(largest, ran.memory / 2**20)
                if found or chosen.all:
                    print(
                        f"{kind} {case.folder.name}: {case.command[:300]!r}: {'; '.join(found) or ran.code}"
                    )
                    print("    " + repr(ran.output[-400:]), flush=True)
            print(f"{kind}: {count - earlier} runs")
    print(f"{count} runs, {wrong} wrong; at most {slowest:.1f} s of CPU time and {largest:.0f} MiB")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
