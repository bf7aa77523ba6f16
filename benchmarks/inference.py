"""Time every contender on every network, in turn: the table of `benchmarks/inference.md`.

    python benchmarks/inference.py [--models yolov3,yolov3-spp,yolov3-tiny,coco] [--rounds 5]
                                   [--base-only | --cpu-time]

Weights are random, and as fast as trained weights. Each further case differs from the base case (416x416,
batch 1, two threads) in size, batch or threads. "Matrix product" is the time of the multiplications of all
convolutions, in float32 in NumPy's BLAS (see `engines.py`). The int8 files are written during the run by the
quantization of lookonce, calibrated on rendered images. `coco` is the network in the package. `--cpu-time`
measures the CPU time of one thread at 416x416 and batch 1, which depends least on other work.
"""

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

import numpy as np
import onnx
from engine_worker import matrix_product
from machine import machine_line
from numpy.typing import NDArray
from random_models import write_random

from lookonce.bench import worker
from lookonce.bench.contenders import CONTENDERS, BenchCase, Run
from lookonce.bench.files import Files, prepare, with_shape
from lookonce.bench.measure import BenchEntry, Result, measure
from lookonce.bench.table import as_text
from lookonce.data.synthetic import scene
from lookonce.export.files import write_onnx
from lookonce.export.graph import export_graph
from lookonce.export.quantize_onnx import quantize_onnx
from lookonce.export.quantize_openvino import quantize_openvino
from lookonce.export.source import read_source
from lookonce.geometry.letterbox import Letterbox
from lookonce.networks import BUILT_IN, model_path

CALIBRATION = 8  # images
FLOOR = "matrix product float32"
BASE = BenchCase((416, 416), batch=1, threads=2)
ONE_THREAD = BenchCase((416, 416), batch=1, threads=1)
CASES = (
    BASE,
    ONE_THREAD,
    BenchCase((416, 416), batch=8, threads=2),
    BenchCase((320, 320), batch=1, threads=2),
    BenchCase((608, 608), batch=1, threads=2),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default="yolov3,yolov3-spp,yolov3-tiny")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--base-only", action="store_true", help="416x416, batch 1, two threads")
    parser.add_argument("--cpu-time", action="store_true", help="one thread, for a machine with other work")
    options = parser.parse_args()
    cases = [ONE_THREAD] if options.cpu_time else CASES[:1] if options.base_only else CASES

    print(machine_line("onnxruntime", "openvino", "torch", "opencv-python-headless", "numpy"))
    print("lookonce: a 1280x720 image in memory to detections; the others: the network alone, input ready\n")
    with TemporaryDirectory() as folder:
        for model in options.models.split(","):
            entries = list(rows(model, Path(folder)))
            if options.cpu_time:
                entries = [replace(entry, open=partial(on_cpu, entry.open)) for entry in entries]
            for case in cases:
                os.environ["OPENBLAS_NUM_THREADS"] = str(case.threads)  # for the processes of contenders
                results = measure(entries, case, rounds=options.rounds)
                unit = ", ms of CPU time" if options.cpu_time else ""
                print(f"{model}{unit}, {as_text(results)}\n{verdicts(results)}\n", flush=True)


def rows(model: str, folder: Path) -> Iterator[BenchEntry]:
    """Yield an entry per contender and form (float32 or int8), and one for the matrix products."""
    for form, files in forms(model, folder).items():
        for name, contender in CONTENDERS.items():
            # only the engine that an int8 file was made for runs it
            foreign = form == "int8.onnx" and name.endswith("openvino")
            if contender.installed and contender.fits(files) and not foreign:
                yield BenchEntry.of(contender, files, f"{name} {form}")
        if files.network is not None and files.is_float:
            yield BenchEntry(FLOOR, partial(floor, files.network))


def on_cpu(open_: Callable[[BenchCase], Run], case: BenchCase) -> Run:
    """Open a contender in its process, which then measures CPU time."""
    offset = perf_counter() - process_time()
    worker.perf_counter = lambda: process_time() + offset
    return open_(case)


def floor(network: Path, case: BenchCase) -> Run:
    """Return a run of the matrix products of a network for a batch."""
    fixed = network.with_name("network-fixed.onnx")
    onnx.save(with_shape(onnx.load(network), (case.batch, 3, *case.size)), fixed)
    return matrix_product(fixed, None, [], case.threads)


def forms(model: str, folder: Path) -> dict[str, Files]:
    """Return a network in float32 as Darknet files, for every contender, and in int8 for two engines."""
    cfg = Path(model_path(model)) if model in BUILT_IN else write_random(model, folder)
    graph = export_graph(read_source(cfg))
    info = read_source(cfg).info
    rng = np.random.default_rng(0)
    images = [Letterbox.fit(each.shape[:2], info.input_size).image(each) for each in rendered(rng)]
    small = {"int8.onnx": folder / f"{model}-int8.onnx", "int8.xml": folder / f"{model}-int8.xml"}
    write_onnx(quantize_onnx(graph, np.stack(images)), small["int8.onnx"])
    quantize_openvino(graph, np.stack(images), small["int8.xml"])
    return {form: prepare(path, made(folder, path)) for form, path in {"float32": cfg, **small}.items()}


def rendered(rng: np.random.Generator) -> Iterator[NDArray[np.uint8]]:
    """Return images for calibration; a few are enough, because the outputs are not used."""
    return (scene(rng).image for _ in range(CALIBRATION))


def made(folder: Path, path: Path) -> Path:
    """Make and return a folder for the converted files of a model file."""
    folder = folder / f"{path.name}-forms"
    folder.mkdir()
    return folder


def verdicts(results: Sequence[Result]) -> str:
    """Return the ratios of our Detector to the fastest bare engine per form, and of int8 to float32."""
    ran = [row for row in results if row.turns]
    ours, bare = fastest(ran, ours=True, form="float32"), fastest(ran, ours=False, form="float32")
    lines = [f"{ours.label} / {bare.label}, the fastest bare engine: {ours.ratio(bare):.3f}"]
    lines += [f"{bare.label} / {row.label}: {bare.ratio(row):.2f}" for row in ran if row.label == FLOOR]
    small = [row for row in ran if "int8" in row.label]
    if small:
        mine, theirs = fastest(small, ours=True, form="int8"), fastest(small, ours=False, form="int8")
        lines.append(f"{mine.label} / {theirs.label}: {mine.ratio(theirs):.3f}")
        quickest = min((ours, bare), key=lambda row: row.percentile(50))
        lines.append(f"{quickest.label} / {mine.label}: {quickest.ratio(mine):.2f}")
        opencv = [row for row in ran if row.label.startswith("opencv")]
        lines += [f"{row.label} / {mine.label}: {row.ratio(mine):.2f}" for row in opencv]
    return "\n".join(lines)


def fastest(results: Sequence[Result], *, ours: bool, form: str) -> Result:
    """Return the row with the lowest median, except the matrix products."""
    rows = [row for row in results if row.label.startswith("lookonce") == ours and form in row.label]
    rows = [row for row in rows if row.label != FLOOR]
    return min(rows, key=lambda row: row.percentile(50))


if __name__ == "__main__":
    main()
