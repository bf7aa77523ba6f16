"""Compare the Detector of a tuned model with every row of its plan, from image to detections.

    lookonce tune MODEL --data DATA --out FOLDER
    LOOKONCE_CACHE=FOLDER python benchmarks/tuned.py MODEL IMAGE... [--rounds 10]

`Detector.open(MODEL)` follows the plan. The other rows are the accepted configurations of the plan for one
image at a time, each with its engine, precision and threads. All run in turn, each in a process of its own,
on the same images in memory. The ratio is the median of the ratios within the rounds, to the row with the
lowest median in this run, which need not be the fastest row when the plan was made.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from machine import machine_line

from lookonce.bench.contenders import BenchCase, Run
from lookonce.bench.measure import BenchEntry, measure
from lookonce.bench.table import as_text
from lookonce.bench.tune import Timed, in_memory
from lookonce.runtime.backends import engine_file
from lookonce.runtime.detector import Detector
from lookonce.runtime.plans import find_plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()

    path = engine_file(options.model, None)
    plan = find_plan(path, options.model.name)
    if plan is None:
        parser.error(f"no plan for {options.model} on this machine: run `lookonce tune` first")
    entries = [BenchEntry("Detector.open, by the plan", Tuned(options.model, tuple(options.images)))]
    for way in plan.timed:
        if way.calls == 1:
            file = way.file or path.name
            label = f"{way}, {file}"
            entries.append(BenchEntry(label, Timed(way, path, plan.folder, tuple(options.images))))
    print(machine_line("onnxruntime", "openvino", "torch", "numpy"))
    with Detector.open(options.model) as detector:
        case = BenchCase(detector.info.input_size, 1, plan.cpu.cores)
    results = measure(entries, case, rounds=options.rounds)
    print(as_text(results))
    tuned, *rows = (result for result in results if result.turns)
    fastest = min(rows, key=lambda row: row.percentile(50))
    print(f"plan: {plan.best()}")
    print(f"{tuned.label} / {fastest.label}, the fastest row: {tuned.ratio(fastest):.3f}")


@dataclass(frozen=True, slots=True)
class Tuned:
    """Opens a model with `Detector.open`, in the process that times it."""

    model: Path
    images: tuple[Path, ...]

    def __call__(self, case: BenchCase) -> Run:
        detector = Detector.open(self.model)
        pixels = in_memory(detector, self.images)
        return lambda: detector(next(pixels))


if __name__ == "__main__":
    main()
