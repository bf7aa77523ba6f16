"""Gains and costs of int8: size, AP and latency compared with float32, and the operators that engines run.

    python benchmarks/int8.py MODEL --calibrate DATA/split [--gate-on DATA/split]
    python benchmarks/int8.py yolov3                          random weights: size and latency only

The networks run in turn. Latencies are medians over the turns, and a ratio is the median of the ratios within
the turns, so that other work on the machine affects both networks equally. The script writes no files.
"""

import argparse
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime as ort
import openvino as ov
from machine import machine_line
from random_models import write_random

from lookonce._terminal import terminal
from lookonce.export.files import write_onnx
from lookonce.export.graph import export_graph
from lookonce.export.int8 import ENGINES, Int8, choose_images
from lookonce.export.quantize_onnx import quantize_onnx
from lookonce.export.quantize_openvino import quantize_openvino
from lookonce.export.source import FloatModel, read_source
from lookonce.gate import compare
from lookonce.geometry.letterbox import Letterbox
from lookonce.metadata import ModelInfo
from lookonce.runtime.backends import Backend, open_backend
from lookonce.runtime.detector import Detector
from lookonce.runtime.options import EVALUATION_CONF


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="a model file, or yolov3, yolov3-spp, yolov3-tiny")
    parser.add_argument("--calibrate", type=Path)
    parser.add_argument("--gate-on", type=Path)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    print(machine_line("onnxruntime", "openvino", "nncf", "numpy"))
    with TemporaryDirectory() as name:
        folder = Path(name)
        source = read_source(model_file(options.model, folder))
        float_file, int8_files = write_files(source, options, folder)
        for threads in options.threads:
            latencies(float_file, int8_files, source.info, threads, options.rounds)
        what_runs(int8_files, source.info.input_size)


def model_file(given: str, folder: Path) -> Path:
    return Path(given) if Path(given).exists() else write_random(given, folder)


def write_files(source: FloatModel, options: argparse.Namespace, folder: Path) -> tuple[Path, list[Path]]:
    """Write the float file and both int8 files, return their paths, and print sizes and, with data, AP."""
    graph = export_graph(source)
    float_file = folder / "float.onnx"
    write_onnx(graph, float_file)
    inputs, judged = noise(source.info), None
    if options.calibrate:
        inputs, judged = choose_images(Int8(options.calibrate, options.gate_on), source.info, terminal())
    print(f"\n{source.info.architecture} at {source.info.input_size}, calibrated on {len(inputs)} images")
    files = [folder / "int8.onnx", folder / "int8.xml"]
    write_onnx(quantize_onnx(graph, inputs), files[0])
    quantize_openvino(graph, inputs, files[1])
    for file in files:
        size = sum(each.stat().st_size for each in folder.glob("int8.*") if belongs(each, file))
        print(f"{ENGINES[file.suffix]:12s} size {size / float_file.stat().st_size:.3f} x float", end="")
        print(accuracy(float_file, file, judged) if judged else "")
    return float_file, files


def belongs(each: Path, file: Path) -> bool:
    return each == file or (file.suffix == ".xml" and each.suffix == ".bin")


def noise(info: ModelInfo) -> np.ndarray:
    """Return images of noise for calibrating random weights, whose AP is not measured."""
    return np.random.default_rng(0).integers(0, 256, (4, *info.input_size, 3), np.uint8)


def accuracy(float_file: Path, file: Path, judged: list) -> str:
    engine = ENGINES[file.suffix]
    with (
        Detector.open(float_file, conf=EVALUATION_CONF, backend=engine) as before,
        Detector.open(file, conf=EVALUATION_CONF, backend=engine) as after,
    ):
        found = compare(before, after, judged)
    return (
        f"   AP {found.before.ap:.4f} -> {found.after.ap:.4f} ({-found.drop:+.4f})   "
        f"AP50 {found.before.ap50:.4f} -> {found.after.ap50:.4f}"
    )


def latencies(float_file: Path, int8_files: list[Path], info: ModelInfo, threads: int, rounds: int) -> None:
    """Print the latencies of both engines, float and int8, in turn on one letterboxed image."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (720, 1280, 3), np.uint8)
    images = Letterbox.fit((720, 1280), info.input_size).image(image)[None]
    backends: dict[str, Backend] = {}
    for file in int8_files:
        engine = ENGINES[file.suffix]
        backends[f"{engine} float"] = open_backend(float_file, backend=engine, threads=threads)
        backends[f"{engine} int8"] = open_backend(file, backend=engine, threads=threads)
    times = {name: np.array([]) for name in backends}
    for turn in range(rounds + 2):  # the first two warm up
        for name, backend in backends.items():
            start = time.perf_counter()
            backend(images)
            if turn >= 2:
                times[name] = np.append(times[name], 1e3 * (time.perf_counter() - start))
    floats = np.min([took for name, took in times.items() if name.endswith("float")], axis=0)
    print(f"\nthreads: {threads}           median ms     least   the faster float / this")
    for name, took in times.items():
        print(f"{name:20s} {np.median(took):9.1f} {took.min():9.1f}   {np.median(floats / took):6.2f}")
        backends[name].close()


def what_runs(int8_files: list[Path], size: tuple[int, int]) -> None:
    """Print the number of operators that run in each precision, to reveal unintended float convolutions."""
    for file in int8_files:
        counts = onnxruntime_runs(file) if file.suffix == ".onnx" else openvino_runs(file, size)
        print(f"\n{ENGINES[file.suffix]} runs: {dict(sorted(counts.items()))}")


def onnxruntime_runs(file: Path) -> Counter[str]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(file.with_name("optimized.onnx"))
    ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    graph = onnx.load(options.optimized_model_filepath).graph
    kinds = ("Conv", "QLinearConv", "FusedConv", "QLinearAdd", "QLinearLeakyRelu", "Add", "LeakyRelu")
    return Counter(node.op_type for node in graph.node if node.op_type in kinds)


def openvino_runs(file: Path, size: tuple[int, int]) -> Counter[str]:
    core = ov.Core()
    model = core.read_model(file)
    model.reshape([1, *size, 3])
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    infos = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    return Counter(
        f"{info['layerType'].astype(str)} {info['runtimePrecision'].astype(str)}"
        for info in infos
        if info["layerType"].astype(str) in ("Convolution", "Eltwise", "Subgraph", "Pooling")
    )


if __name__ == "__main__":
    main()
