"""Coverage of the 95% intervals of `lookonce evaluate`: how often they contain the true value, by simulation.

    python benchmarks/intervals.py [--images 10 20 40 120] [--rounds 600]

Simulated images differ in the number of objects, in how easy these are to detect, and in false alarms. The
true value is measured on 32,000 such images. The simulation is in `tests/evaluate/test_bootstrap.py`.
"""

import argparse
import sys
from pathlib import Path

from machine import machine_line

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.evaluate.test_bootstrap import coverage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, nargs="+", default=[10, 20, 40, 120])
    parser.add_argument("--rounds", type=int, default=600)
    options = parser.parse_args()
    print(machine_line("numpy"))
    print(f"held by the interval, of {options.rounds} measurements:\n")
    print("| images | AP | AP50 | error of the count |\n|---|---|---|---|")
    for images in options.images:
        print(f"| {images} | {' | '.join(f'{share:.1%}' for share in coverage(images, options.rounds))} |")


if __name__ == "__main__":
    main()
