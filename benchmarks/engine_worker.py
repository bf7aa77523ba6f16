"""Process that runs one engine for `engines.py`; it needs NumPy and the engine, but not lookonce.

    python benchmarks/engine_worker.py ENGINE FOLDER THREADS

FOLDER has `network.onnx` (with a fixed shape), ncnn's `network.param` with its weights, `maps.txt` (names of
the raw maps in ncnn), `input.npy` and `expected.npz` (the raw maps). The process prints a line of JSON when
it is ready. Then, for each number that it reads from standard input, it runs the network that many times, and
prints the seconds of each run, elapsed and of CPU time, as JSON. Converted models are kept in FOLDER.
"""

import json
import os
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

Run = Callable[[], list[Any]]
WARM_UP = 3


def onnxruntime(folder: Path, given: Any, names: list[str], threads: int, provider: Any = None) -> Run:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    chosen = [provider] if provider else ["CPUExecutionProvider"]
    session = ort.InferenceSession(folder / "network.onnx", options, providers=chosen)
    if provider and provider[0] not in session.get_providers():
        raise RuntimeError(f"{provider[0]} is not used")
    feed = {session.get_inputs()[0].name: given}
    return lambda: session.run(names, feed)


def onnxruntime_openvino(folder: Path, given: Any, names: list[str], threads: int) -> Run:
    settings = {"device_type": "CPU", "precision": "FP32", "num_of_threads": str(threads)}
    return onnxruntime(folder, given, names, threads, ("OpenVINOExecutionProvider", settings))


def openvino(folder: Path, given: Any, names: list[str], threads: int) -> Run:
    import openvino as ov

    core = ov.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    network = core.compile_model(core.read_model(folder / "network.onnx"), "CPU", settings)
    request = network.create_infer_request()

    def run() -> list[Any]:
        found = request.infer([given], share_inputs=True, share_outputs=True)
        return [found[name] for name in names]

    return run


def opencv(folder: Path, given: Any, names: list[str], threads: int) -> Run:
    import cv2

    cv2.setNumThreads(threads)
    network = cv2.dnn.readNetFromONNX(str(folder / "network.onnx"))

    def run() -> list[Any]:
        network.setInput(given)
        return list(network.forward(names))

    return run


def ncnn(folder: Path, given: Any, names: list[str], threads: int, winograd: bool = True) -> Run:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as in lookonce: otherwise waiting threads spin
    import ncnn as engine

    network = engine.Net()
    network.opt.num_threads = threads
    for each in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(network.opt, each, False)
    network.opt.use_winograd_convolution = winograd
    network.load_param(str(folder / "network.param"))
    network.load_model(str(folder / "network.ncnn.bin"))
    image = engine.Mat(given[0])  # a view
    maps = (folder / "maps.txt").read_text().split()

    def run() -> list[Any]:
        extractor = network.create_extractor()
        extractor.input("image", image)
        return [np.array(extractor.extract(name)[1])[None] for name in maps]

    return run


def mnn(folder: Path, given: Any, names: list[str], threads: int) -> Run:
    import MNN

    if not (folder / "network.mnn").exists():
        # This is the function behind the `mnnconvert` command. The command itself first installs a logging
        # package with the first pip in PATH, and reports the conversion and a machine id to its makers.
        from _tools import mnnconvert

        words = f"mnnconvert -f ONNX --modelFile {folder}/network.onnx --MNNModel {folder}/network.mnn"
        mnnconvert([*words.split(), "--bizCode", "-"])
    network = MNN.Interpreter(str(folder / "network.mnn"))
    session = network.createSession({"numThread": threads, "precision": "high", "backend": "CPU"})
    target = network.getSessionInput(session)
    caffe = MNN.Tensor_DimensionType_Caffe
    image = MNN.Tensor(given.shape, MNN.Halide_Type_Float, given, caffe)
    outputs = [network.getSessionOutput(session, name) for name in names]
    copies = [MNN.Tensor(each.getShape(), MNN.Halide_Type_Float, np.zeros(each.getShape(), np.float32), caffe)
              for each in outputs]  # fmt: skip

    def run() -> list[Any]:
        target.copyFrom(image)
        network.runSession(session)
        for each, copy in zip(outputs, copies, strict=True):
            each.copyToHostTensor(copy)
        return [np.asarray(copy.getNumpyData()) for copy in copies]

    return run


def matrix_product(folder: Path, given: Any, names: list[str], threads: int) -> Run:
    """Return a run of only the multiplications of all convolutions, as matrix products in NumPy's BLAS."""
    import onnx

    path = folder if folder.is_file() else folder / "network.onnx"
    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    shapes = {each.name: list(each.dims) for each in graph.initializer}
    for value in (*graph.value_info, *graph.output):
        shapes[value.name] = [side.dim_value for side in value.type.tensor_type.shape.dim]
    rng, pairs = np.random.default_rng(0), []
    for node in graph.node:
        if node.op_type == "Conv":
            filters, *kernel = shapes[node.input[1]]
            groups = next((each.i for each in node.attribute if each.name == "group"), 1)
            batch, _, rows, columns = shapes[node.output[0]]
            sides = (
                (groups, filters // groups, int(np.prod(kernel))),
                (groups, int(np.prod(kernel)), batch * rows * columns),
            )
            pairs.append([rng.random(each, dtype=np.float32) for each in sides])

    def run() -> list[Any]:
        for weights, columns in pairs:
            np.matmul(weights, columns)
        return []

    return run


ENGINES: dict[str, tuple[str, Callable[[Path, Any, list[str], int], Run]]] = {
    "onnxruntime": ("onnxruntime", onnxruntime),
    "openvino": ("openvino", openvino),
    "opencv": ("opencv-python-headless", opencv),
    "opencv5": ("opencv-python-headless", opencv),
    "ncnn": ("ncnn", ncnn),
    "ncnn, no Winograd": ("ncnn", partial(ncnn, winograd=False)),
    "mnn": ("MNN", mnn),
    "onnxruntime-openvino": ("onnxruntime-openvino", onnxruntime_openvino),
    "matrix product": ("numpy", matrix_product),
}


def main() -> None:
    name, folder, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    package, open_ = ENGINES[name]
    expected = dict(np.load(folder / "expected.npz"))
    given = np.load(folder / "input.npy")
    run = open_(folder, given, list(expected), threads)
    for _ in range(WARM_UP):
        found = run()
    by_shape = {each.shape: each for each in map(np.asarray, found)}  # engines may reorder the maps
    apart = max(
        float(np.abs(by_shape[each.shape] - each).max() / np.abs(each).max()) if found else 0.0
        for each in expected.values()
    )
    print(json.dumps({"version": version(package), "apart": apart}), flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            wall, cpu = perf_counter(), process_time()
            run()
            times.append((perf_counter() - wall, process_time() - cpu))
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
