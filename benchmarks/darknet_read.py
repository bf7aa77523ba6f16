"""Time and memory of reading a large weight file. Linux only.

    python benchmarks/darknet_read.py yolov3.cfg

The script writes weights of the right size with random values to a temporary folder. It then reads the file
in turn as plain bytes and as weights. Memory is measured in a new process, before and after reading.
"""

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

import numpy as np
from machine import machine_line

from lookonce.darknet.cfg import read_cfg
from lookonce.darknet.resolve import resolve
from lookonce.darknet.weights import read_weights

ROUNDS = 15
PEAK = """
import sys
from pathlib import Path
from lookonce.darknet.cfg import read_cfg
from lookonce.darknet.resolve import resolve
from lookonce.darknet.weights import read_weights

def peak():
    (line,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024

specs = resolve(read_cfg(Path(sys.argv[1]))).convolutions
before = peak()
kept = read_weights(Path(sys.argv[2]), specs)
for weights in kept[1]:
    for array in weights.in_file_order():
        array.max()
print(peak() - before)
"""


def main(cfg: Path) -> None:
    specs = resolve(read_cfg(cfg)).convolutions
    with TemporaryDirectory() as folder:
        file = Path(folder) / "random.weights"
        with file.open("wb") as out:
            out.write(struct.pack("<3iq", 0, 2, 0, 0))
            numbers = sum(spec.numbers for spec in specs)
            np.random.default_rng(0).integers(0, 2**32, numbers, np.uint32).tofile(out)
        size = file.stat().st_size
        print(machine_line("numpy"))
        print(f"{cfg.name}: {len(specs)} convolutions, {size:,} bytes of random content, in the page cache")
        rounds = [(timed(file.read_bytes), timed(lambda: read_weights(file, specs))) for _ in range(ROUNDS)]
        for clock, name in enumerate(("elapsed", "processor")):
            plain = [each[clock] for each, _ in rounds]
            weights = [each[clock] for _, each in rounds]
            print(f"{name:10}plain read    {summary(plain)}")
            print(f"{name:10}read_weights  {summary(weights)}")
            ratio = median(weights) / median(plain)
            print(f"{name:10}ratio of the medians {ratio:.2f} (to be at most 1.5)")
        grown = grown_in_a_fresh_process(cfg, file)
        print(f"memory: the peak grows by {grown:,} bytes, {grown / size:.3f} x the file (to be at most 2)")


def timed(read: Callable[[], object]) -> tuple[float, float]:
    """Return the elapsed seconds and the seconds of CPU time, which are also valid on a busy machine."""
    elapsed, processor = perf_counter(), process_time()
    kept = read()
    elapsed, processor = perf_counter() - elapsed, process_time() - processor
    del kept  # after the times are taken: freeing memory is not part of reading
    return elapsed, processor


def summary(seconds: list[float]) -> str:
    least, most = min(seconds) * 1e3, max(seconds) * 1e3
    return f"median {median(seconds) * 1e3:.0f} ms, {least:.0f} to {most:.0f}, of {ROUNDS}"


def grown_in_a_fresh_process(cfg: Path, file: Path) -> int:
    command = [sys.executable, "-c", PEAK, str(cfg), str(file)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
