"""Time from the start of the process to a result, for whole commands in turn, and the Detector's memory.

    python benchmarks/startup.py IMAGE [--rounds 15]

Networks have random weights. Every command is a new process; files are in the page cache.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from machine import machine_line
from random_models import write_random

from lookonce.bench.contenders import CONTENDERS, BenchCase
from lookonce.bench.files import prepare
from lookonce.bench.worker import Worker

DETECT = "from lookonce import Detector; import sys; Detector.open(sys.argv[1])(sys.argv[2])"
BARE = """
import sys, numpy as np, onnxruntime as ort
session = ort.InferenceSession(sys.argv[1])
session.run(None, {session.get_inputs()[0].name: np.zeros((1, 3, 416, 416), np.float32)})
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("image", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()

    print(machine_line("onnxruntime", "opencv-python-headless", "numpy"))
    with TemporaryDirectory() as name:
        folder = Path(name)
        tiny = prepare(write_random("yolov3-tiny", folder), folder)
        python, lookonce = sys.executable, str(Path(sys.executable).with_name("lookonce"))
        commands = {
            "python -c pass": [python, "-c", "pass"],
            "lookonce --help": [lookonce, "--help"],
            "yolov3-tiny, one image, from Python": [
                python, "-c", DETECT, str(tiny.graph), str(options.image),
            ],
            "yolov3-tiny, bare ONNX Runtime, no image": [python, "-c", BARE, str(tiny.network)],
            "lookonce detect yolov3-tiny.onnx IMAGE": [
                lookonce, "detect", str(tiny.graph), str(options.image), "--out", str(folder / "found"),
            ],
        }  # fmt: skip
        rounds = [
            {label: seconds(command) for label, command in commands.items()} for _ in range(options.rounds)
        ]
        for label in commands:
            taken = sorted(each[label] for each in rounds)
            print(f"{label:45}{median(taken):6.2f} s   {taken[0]:.2f} to {taken[-1]:.2f}, of {len(taken)}")
        memory(folder)


def seconds(command: Sequence[str]) -> float:
    """A whole process, from start to end."""
    start = perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return perf_counter() - start


def memory(folder: Path) -> None:
    """Peak of a whole process that opens yolov3 and detects, beside the bare engine."""
    files = prepare(write_random("yolov3", folder), folder)
    case, peaks = BenchCase((416, 416), batch=1, threads=2), {}
    for contender in ("lookonce", "onnxruntime"):
        with Worker(contender, partial(CONTENDERS[contender].open, files, case)) as worker:
            peaks[contender] = worker.run(3).peak_bytes or 0
    ours, bare = peaks["lookonce"], peaks["onnxruntime"]
    print(f"yolov3 at 416, peak of the process: {ours >> 20} MiB; bare ONNX Runtime {bare >> 20} MiB")
    print(f"ratio {ours / bare:.2f} (to be at most 1.3)")


if __name__ == "__main__":
    main()
