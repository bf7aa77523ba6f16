"""Detection on a folder of photographs, from JPEG to JSON, compared with the bare engine at its fastest.

    python benchmarks/folder.py IMAGES MODEL... [--count 200] [--rounds 5] [--backends onnxruntime,openvino]

The bare engine gets prepared inputs, and its output is discarded. It runs in all configurations that could be
fastest: batch 1 and 8, one thread and all threads, one call at a time and one call per core. The fastest
configuration is the reference. With ONNX Runtime there is also a minimal loop on every core, which reads,
decodes, resizes and runs, without letterbox, post-processing or results. All of these run in turn in each
round. Rates are medians over the rounds, and a ratio is the median of the ratios within the rounds. CPU time
is that of all threads; unlike the rate, it hardly depends on other work.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import onnxruntime as ort
import openvino as ov
from machine import machine_line
from numpy.typing import NDArray

from lookonce.geometry.letterbox import Letterbox
from lookonce.images import decode_image, list_images, read_image
from lookonce.runtime.backends import ENGINES, open_backend
from lookonce.runtime.cpu import usable_cores
from lookonce.runtime.detector import Detector
from lookonce.runtime.pipeline import Parallel
from lookonce.runtime.postprocess import postprocess
from lookonce.runtime.sources import Frame, Sources
from lookonce.runtime.writers import JsonWriter

MINIMAL = "minimal loop"
Rate = Callable[[int], float]  # number of images -> images per second


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("images", type=Path, help="a folder")
    parser.add_argument("models", type=Path, nargs="+", help=".onnx or .xml")
    parser.add_argument("--count", type=int, default=200, help="images of the folder, evenly spread")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backends", default="onnxruntime,openvino")
    options = parser.parse_args()

    print(machine_line("onnxruntime", "openvino", "opencv-python-headless", "numpy"))
    found = list_images(options.images)
    images = found[:: max(1, len(found) // options.count)][: options.count]
    sizes = np.median([read_image(path).shape[:2] for path in images], axis=0).astype(int)
    print(f"{len(images)} images of {sizes[1]}x{sizes[0]} (median), {usable_cores()} cores\n")
    for model in options.models:
        for backend in options.backends.split(","):
            if model.suffix in ENGINES[backend].suffixes:
                compare(model, backend, images, options.rounds)


def compare(model: Path, backend: str, images: Sequence[Path], rounds: int) -> None:
    """Print the results of a model in an engine: the table, the time per stage, and the whole command."""
    print(f"{model.name}, {backend}")
    parallel = Parallel.of(len(images))
    with (
        TemporaryDirectory() as folder,
        Detector.open(model, backend=backend, threads=parallel.threads) as ours,
    ):
        fitted = fit(read_image(images[0]), ours)
        contenders: dict[str, Rate] = dict(bare_plans(model, backend, fitted))
        if backend == "onnxruntime":
            contenders[MINIMAL] = minimal_rate(model, images, fitted.shape[1:3])
        contenders["folder, JPEG to JSON"] = folder_rate(ours, parallel, images, Path(folder))
        for rate in contenders.values():
            rate(2 * usable_cores())  # warm up
        turns = [[timed(rate, len(images)) for rate in contenders.values()] for _ in range(rounds)]
    report(list(contenders), np.array(turns))
    profile(model, backend, images[:: max(1, len(images) // 40)])
    if ENGINES[backend].suffixes[0] == model.suffix:  # the engine that the command chooses for this file
        for workers in dict.fromkeys((1, parallel.workers)):
            print(f"  {run_command(model, images, workers)}")
    print(flush=True)


def timed(rate: Rate, images: int) -> tuple[float, float]:
    """Return images per second, and images per second of CPU time."""
    before = time.process_time()
    return rate(images), images / (time.process_time() - before)


def report(names: Sequence[str], turns: NDArray[np.float64]) -> None:
    """Print the table of `turns` (round, contender, rate and rate by CPU time); ours is the last one."""
    medians, least, most = np.median(turns, axis=0), turns.min(axis=0), turns.max(axis=0)
    print(f"  {'':36s}  images/s   (least to most)   processor ms an image")
    for row, name in enumerate(names):
        spread = f"({least[row, 0]:.2f} to {most[row, 0]:.2f})"
        print(f"  {name:36s}  {medians[row, 0]:10.2f}   {spread:18s}{1e3 / medians[row, 1]:10.2f}")
    for column, what in enumerate(("images/s", "by processor time")):
        bare = [row for row, name in enumerate(names) if name.startswith("bare")]
        best = max(bare, key=lambda row: medians[row, column])
        ratio = np.median(turns[:, -1, column] / turns[:, best, column])
        print(f"  folder / best bare plan, {what}: {ratio:.3f}   (best: {names[best]})")
        if MINIMAL in names:
            ratio = np.median(turns[:, -1, column] / turns[:, names.index(MINIMAL), column])
            print(f"  folder / {MINIMAL}, {what}: {ratio:.3f}")


def fit(image: NDArray[np.uint8], detector: Detector) -> NDArray[np.uint8]:
    """Return the image (1, H, W, 3) at the input size of the network."""
    return Letterbox.fit(image.shape[:2], detector.size).image(image)[None]


def bare_plans(model: Path, backend: str, fitted: NDArray[np.uint8]) -> Iterator[tuple[str, Rate]]:
    """Yield a label and a rate for every configuration of the bare engine that could be fastest."""
    cores = usable_cores()
    for batch in (1, 8):
        images = np.repeat(fitted, batch, axis=0)
        for threads in dict.fromkeys((1, cores)):
            for calls in dict.fromkeys((1, cores // threads)):
                shape = f"batch {batch}, {threads} threads, {calls} at a time"
                if backend == "onnxruntime":
                    yield f"bare: {shape}", bare_onnx(model, images, threads, calls)
                elif threads * calls == cores:
                    yield f"bare: {shape}", bare_openvino(model, images, calls, cores)


def bare_onnx(model: Path, inputs: NDArray[np.uint8], threads: int, calls: int) -> Rate:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: inputs}

    def rate(images: int) -> float:
        runs = -(-images // len(inputs) // calls) or 1
        start = time.perf_counter()
        with ThreadPoolExecutor(calls) as pool:
            list(pool.map(lambda _: [session.run(None, feed) for _ in range(runs)], range(calls)))
        return runs * calls * len(inputs) / (time.perf_counter() - start)

    return rate


def minimal_rate(model: Path, images: Sequence[Path], size: tuple[int, ...]) -> Rate:
    """Return the rate of a ten-line script that runs ONNX Runtime on a folder, with one image per core."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def one(path: Path) -> None:
        pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR_RGB)
        session.run(None, {name: cv2.resize(pixels, size[::-1])[None]})

    def rate(count: int) -> float:
        start = time.perf_counter()
        with ThreadPoolExecutor(usable_cores()) as pool:
            list(pool.map(one, images[:count]))
        return min(count, len(images)) / (time.perf_counter() - start)

    return rate


def bare_openvino(model: Path, inputs: NDArray[np.uint8], streams: int, cores: int) -> Rate:
    """Return the rate of OpenVINO's queue of requests, with one request per stream."""
    core = ov.Core()
    network = core.read_model(model)
    network.reshape(list(inputs.shape))
    settings = {
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": cores,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
    }
    queue = ov.AsyncInferQueue(core.compile_model(network, "CPU", settings), streams)

    def rate(images: int) -> float:
        runs = -(-images // len(inputs))
        start = time.perf_counter()
        for _ in range(runs):
            queue.start_async([inputs], share_inputs=True)
        queue.wait_all()
        return runs * len(inputs) / (time.perf_counter() - start)

    return rate


def folder_rate(detector: Detector, parallel: Parallel, images: Sequence[Path], folder: Path) -> Rate:
    """Return the rate of `lookonce detect` without opening the model."""

    def detect(frame: Frame) -> object:
        return detector(frame.image)

    def rate(count: int) -> float:
        start = time.perf_counter()
        with (
            JsonWriter(folder / "detections.json", detector.names) as writer,
            closing(Sources(images[:count]).map(detect, parallel)) as results,
        ):
            for result in results:
                writer.add(*result)
        return count / (time.perf_counter() - start)

    return rate


STAGES = ("read", "decode", "letterbox", "network", "post-processing", "JSON")


def profile(model: Path, backend: str, images: Sequence[Path]) -> None:
    """Print the milliseconds per image of each stage, on one thread."""
    network = open_backend(model, backend=backend, threads=1)
    size = network.info.input_size
    times = np.zeros((3, len(images), len(STAGES)))
    with TemporaryDirectory() as folder, JsonWriter(Path(folder) / "a.json", network.info.names) as writer:
        for turn in times:
            for row, path in zip(turn, images, strict=True):
                marks = [time.perf_counter()]
                for _ in islice(stages(path, network, size, writer), len(STAGES)):
                    marks.append(time.perf_counter())
                row[:] = np.diff(marks)
    network.close()
    means = 1e3 * times.min(axis=0).mean(axis=0)
    around = means.sum() - means[STAGES.index("network")]
    shown = ", ".join(f"{name} {mean:.2f}" for name, mean in zip(STAGES, means, strict=True))
    print(f"  ms an image on one thread: {shown}; around the network {around / means.sum():.1%}")


def stages(path: Path, network: object, size: tuple[int, int], writer: JsonWriter) -> Iterator[None]:
    """Process an image, and yield after each stage."""
    data = path.read_bytes()
    yield
    image = decode_image(data, str(path))
    yield
    letterbox = Letterbox.fit(image.shape[:2], size)
    fitted = letterbox.image(image)[None]
    yield
    candidates = network(fitted)[0]  # type: ignore[operator]
    yield
    detections = postprocess(candidates, letterbox)
    yield
    writer.add(Frame(image, str(path), Path(path.name)), detections)
    yield


def run_command(model: Path, images: Sequence[Path], workers: int) -> str:
    """Return a line with the time of the whole command, including its start, and its peak memory."""
    threads = max(1, usable_cores() // workers)
    main = "from lookonce.cli import main; main()"
    # a small process in between, because a child inherits the peak memory of the process that starts it
    watch = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], capture_output=True);"
        "print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)"
    )
    with TemporaryDirectory() as folder:
        names = Path(folder) / "list.txt"
        names.write_text("\n".join(map(str, images)))
        words = ["detect", model, f"@{names}", "--out", folder, "--save", "json"]
        command = [sys.executable, "-c", main, *map(str, words), "--threads", str(threads)]
        start = time.perf_counter()
        watched = subprocess.run(
            [sys.executable, "-c", watch, *command], capture_output=True, text=True, check=True
        )
        seconds = time.perf_counter() - start
    code, memory = watched.stdout.split()
    return (
        f"lookonce detect, {workers} at a time, {threads} threads each: exit code {code}, "
        f"{seconds:.1f} s from start to end, at most {memory} MiB"
    )


if __name__ == "__main__":
    main()
