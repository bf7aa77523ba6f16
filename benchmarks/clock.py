"""Whether `lookonce train --minutes` ends on time, also after a stop and `--resume`.

    python benchmarks/clock.py DATA --out runs/clock --minutes 1 2 --size 128

There are two runs per length: one in one go, and one that is stopped by Ctrl-C after two fifths of the time
and then resumed. Further options are passed to `lookonce train`. The time includes each process from its
start, and ends with the log line at the end of training, so the report that follows is left out. The log line
has the time by the run's own clock, which includes neither the start of Python nor the shutdown after Ctrl-C.
"""

import argparse
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from machine import machine_line

ENDED = "ended after"  # first words of the line that a finished run logs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 2])
    options, more = parser.parse_known_args()
    print(machine_line("torch"), flush=True)
    print("| minutes planned | run | seconds | of the plan | by its own clock |\n|---|---|---|---|---|")
    for minutes in options.minutes:
        for stops in (False, True):
            out = options.out / f"{minutes:g}-{'resumed' if stops else 'whole'}"
            shutil.rmtree(out, ignore_errors=True)
            command = [sys.executable, "-m", "lookonce", "train", str(options.data), "--out", str(out)]
            words = ["--minutes", f"{minutes:g}", *more]
            spent = 0.0
            if stops:
                spent += seconds_of([*command, *words], stop_after=24 * minutes)[0]
                words = ["--resume"]
            seconds, said = seconds_of([*command, *words])
            spent += seconds
            kind = "stopped and resumed" if stops else "in one go"
            print(
                f"| {minutes:g} | {kind} | {spent:.1f} | {spent / (60 * minutes):.1%} | {said} |", flush=True
            )


def seconds_of(command: list[str], stop_after: float | None = None) -> tuple[float, str]:
    """Run a command until its training ends, or stop it; return the measured and the logged seconds."""
    start = time.monotonic()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        if stop_after:
            time.sleep(stop_after)
            process.send_signal(signal.SIGINT)
            process.communicate()
            return time.monotonic() - start, ""
        assert process.stdout is not None
        ended, said, lines = 0.0, "", []
        for line in process.stdout:
            lines.append(line)
            if not ended and ENDED in line:
                ended = time.monotonic() - start
                said = f"{60 * float(line.split(ENDED)[1].split()[0]):.0f}"
    if not ended:
        raise SystemExit(f"{' '.join(command)}\n{''.join(lines[-20:])}")
    return ended, said


if __name__ == "__main__":
    main()
