"""Time of whole commands, from the start of the process to a result, and memory of the Detector.

    python benchmarks/startup.py IMAGE [--rounds 15] [--before SRC]

yolov3-tiny has random weights; `coco` is the network in the package. Commands run in turn, each in a new
process, with all files in the page cache. CPU time is that of all threads of the process; it depends less on
other work than elapsed time. The first round is not counted: it compiles modules to bytecode, as installing a
package does. Times are lower quartiles. Ratios are to the bare script in the same round, as medians over the
rounds. `--before` adds the `lookonce detect` of an earlier checkout, given as the path of its `src` folder.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
from machine import machine_line
from random_models import write_random

from lookonce.bench.contenders import CONTENDERS, BenchCase
from lookonce.bench.files import prepare
from lookonce.bench.worker import Worker
from lookonce.export.files import write_openvino
from lookonce.export.graph import export_graph
from lookonce.export.source import read_source
from lookonce.networks import model_path

DETECT = "from lookonce import Detector; import sys; Detector.open(sys.argv[1])(sys.argv[2])"
BARE = """
import sys, cv2, numpy as np, onnxruntime as ort
session = ort.InferenceSession(sys.argv[1])
image = cv2.imdecode(np.fromfile(sys.argv[2], np.uint8), cv2.IMREAD_COLOR_RGB)
session.run(None, {session.get_inputs()[0].name: cv2.resize(image, (416, 416))[None]})
"""
KEPT = "Detector.open, coco in OpenVINO, from the cache"
BEFORE = "lookonce detect IMAGE, before"
USUAL = "bare script, ONNX Runtime and OpenCV"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("image", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--before", type=Path, metavar="SRC")
    options = parser.parse_args()

    print(machine_line("onnxruntime", "opencv-python-headless", "numpy"))
    with TemporaryDirectory() as name:
        folder = Path(name)
        tiny = prepare(write_random("yolov3-tiny", folder), folder)
        python, lookonce = sys.executable, str(Path(sys.executable).with_name("lookonce"))
        given = [str(tiny.graph), str(options.image)]
        detect = [lookonce, "detect", *given, "--force", "--out", str(folder / "found")]
        commands = {
            "python -c pass": [python, "-c", "pass"],
            "lookonce --help": [lookonce, "--help"],
            USUAL: [python, "-c", BARE, *given],
            "Detector.open, one image": [python, "-c", DETECT, *given],
            "lookonce detect IMAGE": detect,
            "lookonce detect IMAGE --save json": [*detect, "--save", "json"],
        }
        openvino = [python, "-c", DETECT, str(in_openvino(folder)), str(options.image)]
        commands |= {"Detector.open, coco in OpenVINO, compiled": openvino, KEPT: openvino}
        if options.before:
            commands[BEFORE] = detect
        caches = dict.fromkeys(commands, os.devnull) | {KEPT: str(folder / "cache")}  # devnull: no cache
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
        rounds = [
            {
                label: seconds(command, caches[label], options.before if label == BEFORE else None)
                for label, command in commands.items()
            }
            for _ in range(1 + options.rounds)
        ][1:]
        for label in commands:
            taken, usual = (np.array([each[name] for each in rounds]) for name in (label, USUAL))
            (clock, cpu), ratios = np.percentile(taken, 25, axis=0), np.median(taken / usual, axis=0)
            numbers = (
                f"{clock:6.2f} s, CPU {cpu:5.2f} s; to the bare script {ratios[0]:.2f}, CPU {ratios[1]:.2f}"
            )
            print(f"{label:50}{numbers}")
        memory(folder)


def in_openvino(folder: Path) -> Path:
    """Write the network in the package for OpenVINO, and return the path of the `.xml`."""
    path = folder / "coco.xml"
    write_openvino(export_graph(read_source(Path(model_path("coco")))), path)
    return path


def seconds(command: Sequence[str], cache: str, source: Path | None = None) -> tuple[float, float]:
    """Return elapsed seconds and CPU seconds of a whole process.

    Args:
        command: command line.
        cache: folder for the cache of lookonce.
        source: `src` folder of another checkout of lookonce; None for the installed package.
    """
    start = perf_counter()
    process = subprocess.Popen(
        command,
        env={
            **os.environ,
            "LOOKONCE_CACHE": cache,
            **({} if source is None else {"PYTHONPATH": str(source.absolute())}),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return perf_counter() - start, usage.ru_utime + usage.ru_stime


def memory(folder: Path) -> None:
    """Print the peak memory of a process that detects with yolov3, and of one that runs the bare engine."""
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
