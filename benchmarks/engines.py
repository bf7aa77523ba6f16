"""Compare the engines of lookonce with other engines, running the network alone, in turn.

    python benchmarks/engines.py [--models yolov3-tiny,yolov3,coco] [--rounds 8] \
        [--python mnn=/envs/mnn/bin/python ncnn=/envs/ncnn/bin/python ...]

Engines that cannot be installed together run in their own environments, which `--python` names. Other engines
run in this environment if their package is installed. The input is 416x416, batch 1, float32. Raw maps are
compared with those of ONNX Runtime. "Matrix product" is the time of the multiplications of all convolutions
in NumPy's BLAS, which only an engine with a faster algorithm, such as Winograd's, can beat. With one thread,
CPU time is measured, which depends least on other work on the machine; with two threads, elapsed time. The
table has lower quartiles, and the median over the rounds of the ratio to ONNX Runtime.
"""

import argparse
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import numpy as np
import onnx
import onnxruntime as ort
from engine_worker import ENGINES
from machine import machine_line
from random_models import write_random

from lookonce.bench.contenders import image
from lookonce.bench.files import prepare, with_shape
from lookonce.darknet.ncnn_graph import write_ncnn
from lookonce.export.source import read_source
from lookonce.geometry.letterbox import Letterbox
from lookonce.networks import BUILT_IN, model_path
from lookonce.runtime.backends import as_planes

SIZE = 416
MODULES = {"opencv": "cv2", "mnn": "MNN", "ncnn, no Winograd": "ncnn", "matrix product": "numpy"}
TURN = 0.5  # seconds per engine and round
WORKER = Path(__file__).with_name("engine_worker.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default="yolov3-tiny,yolov3,coco")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--engines", help="only these, a;b; onnxruntime is needed for the ratios")
    parser.add_argument("--python", nargs="*", default=[], metavar="ENGINE=PYTHON")
    options = parser.parse_args()
    pythons: dict[str, str] = dict(pair.split("=", 1) for pair in options.python)
    here = [name for name in ENGINES if find_spec(MODULES.get(name, name)) is not None]
    pythons = dict.fromkeys(here, sys.executable) | pythons
    if options.engines:
        pythons = {name: pythons[name] for name in options.engines.split(";")}

    print(machine_line("numpy"))
    with TemporaryDirectory() as root:
        for model in options.models.split(","):
            folder = Path(root) / model
            folder.mkdir()
            write(model, folder)
            for threads in options.threads:
                compare(model, folder, threads, pythons, options.rounds)


def write(model: str, folder: Path) -> None:
    """Write the files for `engine_worker.py`: network, input, and the raw maps of ONNX Runtime."""
    given = model_path(model) if model in BUILT_IN else write_random(model, folder)
    network = prepare(Path(given), folder).network
    assert network is not None
    onnx.save(with_shape(onnx.load(network), (1, 3, SIZE, SIZE)), folder / "network.onnx")
    pixels = image(0)
    planes = as_planes(Letterbox.fit(pixels.shape[:2], (SIZE, SIZE)).image(pixels)[None])
    session = ort.InferenceSession(folder / "network.onnx", providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    maps = session.run(names, {session.get_inputs()[0].name: planes})
    source = read_source(Path(given))
    write_ncnn(source.network, source.weights, source.info, folder / "network.param")
    (folder / "maps.txt").write_text(" ".join(str(scale.source) for scale in source.network.scales))
    np.save(folder / "input.npy", planes)
    np.savez(folder / "expected.npz", **dict(zip(names, maps, strict=True)))


class Worker:
    """A process in which an engine is open."""

    def __init__(self, name: str, python: str, folder: Path, threads: int) -> None:
        """Start the process, and wait until it has warmed up; RuntimeError if it fails."""
        self._process = subprocess.Popen(
            [python, WORKER, name, folder, str(threads)],
            env={**os.environ, "OPENBLAS_NUM_THREADS": str(threads)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.about = self._answer()
        self.turns: list[Any] = []
        self._runs = max(2, round(TURN / self.run(1)[0][0]))

    def run(self, count: int = 0) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count or self._runs}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            try:
                return json.loads(line)
            except ValueError:
                continue  # text printed by the engine
        assert self._process.stderr is not None
        raise RuntimeError(" ".join(self._process.stderr.read().split())[-200:])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def compare(model: str, folder: Path, threads: int, pythons: dict[str, str], rounds: int) -> None:
    """Run all engines in turn, and print a table."""
    unit = "CPU ms" if threads == 1 else "ms"
    print(
        f"\n{model}, {SIZE}x{SIZE}, {threads} thread(s)\n{'':32}{unit:>8}   to ONNX Runtime   raw maps apart"
    )
    workers: dict[str, Worker] = {}
    try:
        for name, python in pythons.items():
            try:
                workers[name] = Worker(name, python, folder, threads)
            except RuntimeError as error:
                print(f"{name:32}cannot run: {error}")
        for _ in range(rounds):
            for worker in workers.values():
                worker.turns.append(np.array(worker.run())[:, int(threads == 1)] * 1e3)
    finally:
        for worker in workers.values():
            worker.__exit__()
    usual = [np.percentile(turn, 25) for turn in workers["onnxruntime"].turns]
    for name, worker in workers.items():
        turns = [np.percentile(turn, 25) for turn in worker.turns]
        ratios = np.array(turns) / usual
        label = f"{name} {worker.about['version']}"
        low = np.percentile(np.concatenate(worker.turns), 25)
        spread = f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
        print(f"{label:32}{low:8.1f}   {spread:22}{worker.about['apart']:.0e}", flush=True)


if __name__ == "__main__":
    main()
