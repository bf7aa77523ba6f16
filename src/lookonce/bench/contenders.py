"""The contenders: the Detector and the bare engines, each opened as its developers recommend.

The `open` function of a contender takes the files and the case, and returns a function that processes one
batch. A bare engine gets its input in its preferred layout, so that nothing has to be prepared.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray

from lookonce._counted import counted
from lookonce._optional import require
from lookonce.bench.files import Files, with_shape
from lookonce.darknet.ncnn_graph import INPUT
from lookonce.errors import LookonceError
from lookonce.runtime.backends import as_planes

Run = Callable[[], Any]

IMAGE = (720, 1280)  # (height, width) of the images for the Detector
OBJECT_SEED = 7
AGREEMENT = 1e-3  # accepted difference as a share of a raw map's largest value, far above rounding


@dataclass(frozen=True, slots=True)
class BenchCase:
    """A combination to measure.

    Attributes:
        size: (height, width) of the network's input.
        batch: batch size.
        threads: engine threads.
    """

    size: tuple[int, int]
    batch: int
    threads: int

    def __str__(self) -> str:
        return f"{self.size[0]}x{self.size[1]}, batch {self.batch}, {counted(self.threads, 'thread')}"


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to run a model.

    Attributes:
        name: name on the command line and in the table.
        package: required package; empty if every installation has it.
        open: function from files and case to the function to time.
        needs_network: whether it runs `Files.network`.
        needs_param: whether it runs `Files.param`.
        needs_float: whether it only runs float models.
        suffixes: suffixes of the models that it runs; None for any.
        check: function that raises an error if the results differ from ONNX Runtime's, called in a separate
            process; None for no check.
    """

    name: str
    package: str
    open: Callable[[Files, BenchCase], Run]
    needs_network: bool = False
    needs_param: bool = False
    needs_float: bool = False
    suffixes: tuple[str, ...] | None = None
    check: Callable[[Files, BenchCase], Run] | None = None

    @property
    def installed(self) -> bool:
        """Return whether the required package is installed."""
        return not self.package or find_spec(self.package) is not None

    def fits(self, files: Files) -> bool:
        """Return whether the contender can run these files."""
        return (
            (files.network is not None or not self.needs_network)
            and (files.param is not None or not self.needs_param)
            and (files.is_float or not self.needs_float)
            and (self.suffixes is None or files.model.suffix in self.suffixes)
        )


def _detector(files: Files, case: BenchCase, backend: str | None = None) -> Run:
    """Open the Detector, to be timed from images in memory to `Detections`."""
    from lookonce.runtime.detector import Detector

    graph = files.param if backend == "ncnn" else files.graph
    assert graph is not None
    detector = Detector.open(graph, size=case.size, threads=case.threads, device="cpu", backend=backend)
    images = [image(seed) for seed in range(case.batch)]
    return lambda: list(detector.detect_many(images, batch=case.batch))


def _onnxruntime(files: Files, case: BenchCase) -> Run:
    from lookonce._onnxruntime import ort

    assert files.network is not None
    options = ort.SessionOptions()
    options.intra_op_num_threads = case.threads
    session = ort.InferenceSession(files.network, options, providers=["CPUExecutionProvider"])
    feeds = {session.get_inputs()[0].name: as_planes(_images(case))}
    return lambda: session.run(None, feeds)


def _openvino(files: Files, case: BenchCase) -> Run:
    ov = require("openvino", "openvino")
    from lookonce.runtime.openvino_backend import openvino_core

    core, planes = openvino_core(), files.network is not None
    network = core.read_model(files.network if planes else files.graph)
    if not planes:  # cut the decoding off; the input is still uint8 images
        heads = [
            op.input_value(0)
            for op in network.get_ordered_ops()
            if op.get_type_name() == "Transpose" and op.get_friendly_name().startswith("decode_")
        ]
        network = ov.Model(heads, network.get_parameters(), "network")
    network.reshape([case.batch, 3, *case.size] if planes else [case.batch, *case.size, 3])
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": case.threads,
        "INFERENCE_PRECISION_HINT": "f32",  # like the others; the default on some CPUs is bfloat16
    }
    request = core.compile_model(network, "CPU", settings).create_infer_request()
    given = as_planes(_images(case)) if planes else _images(case)
    return lambda: request.infer([given], share_inputs=True, share_outputs=True)


def _ncnn(files: Files, case: BenchCase) -> Run:
    """Open ncnn as in its documentation, to be timed from prepared images to raw maps, one by one."""
    from lookonce.export.ncnn_backend import NcnnBackend, import_ncnn

    assert files.param is not None
    backend = NcnnBackend(files.param, threads=case.threads)
    maps = [str(scale.source) for scale in backend.network.scales]
    given = [import_ncnn().Mat(planes).clone() for planes in as_planes(_images(case))]

    def run() -> object:
        found = []
        for mat in given:
            extractor = backend.net.create_extractor()
            extractor.input(INPUT, mat)
            found += [extractor.extract(name) for name in maps]
        return found

    return run


def _torch(files: Files, case: BenchCase) -> Run:
    """Open the model in torch: eager mode, channels-last, with batch normalization folded."""
    torch = require("torch", "train")
    from lookonce.model.blocks import fold_batch_norm
    from lookonce.model.darknet_io import load_darknet
    from lookonce.model.files import load_model

    torch.set_num_threads(case.threads)
    network = (load_darknet(files.model, files.weights) if files.weights else load_model(files.model))[0]
    fold_batch_norm(network.eval())
    channels_last = {"memory_format": torch.channels_last}
    network.to(**channels_last)
    given = torch.from_numpy(as_planes(_images(case))).contiguous(**channels_last)

    def run() -> object:
        with torch.inference_mode():
            return network(given)

    return run


def _opencv(files: Files, case: BenchCase) -> Run:
    """Open OpenCV's DNN module, with its Darknet importer for a Darknet model if it has one."""
    cv2.setNumThreads(case.threads)
    given = as_planes(_images(case))
    if files.weights and hasattr(cv2.dnn, "readNetFromDarknet"):
        network = cv2.dnn.readNetFromDarknet(str(files.model), str(files.weights))
        outputs = network.getUnconnectedOutLayersNames()
    else:
        assert files.network is not None
        model = with_shape(onnx.load(files.network), given.shape)
        network = cv2.dnn.readNetFromONNX(np.frombuffer(model.SerializeToString(), np.uint8))
        outputs = [output.name for output in model.graph.output]

    def run() -> object:
        network.setInput(given)
        return network.forward(outputs)

    return run


def _check_opencv(files: Files, case: BenchCase) -> Run:
    """Compare the raw maps of OpenCV and ONNX Runtime for an ONNX file, which some versions misread.

    Raises:
        LookonceError: the raw maps differ.
    """
    if files.weights is None or not hasattr(cv2.dnn, "readNetFromDarknet"):
        for found, expected in zip(_opencv(files, case)(), _onnxruntime(files, case)(), strict=True):
            apart = float(np.abs(found - expected).max() / np.abs(expected).max())
            if not apart < AGREEMENT:
                raise LookonceError(f"its raw maps are {apart:.1e} of the largest value from ONNX Runtime's")
    return lambda: None


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("lookonce", "", _detector),
        Contender(
            "lookonce-openvino", "openvino", partial(_detector, backend="openvino"), needs_network=True
        ),
        Contender("onnxruntime", "onnxruntime", _onnxruntime, needs_network=True),
        Contender("lookonce-ncnn", "ncnn", partial(_detector, backend="ncnn"), needs_param=True),
        Contender("openvino", "openvino", _openvino, suffixes=(".xml", ".onnx", ".safetensors", ".cfg")),
        Contender("ncnn", "ncnn", _ncnn, needs_param=True),
        Contender("torch", "torch", _torch, needs_float=True, suffixes=(".safetensors", ".cfg")),
        Contender("opencv", "", _opencv, needs_float=True, check=_check_opencv),
    )
}


def image(seed: int) -> NDArray[np.uint8]:
    """Render an image of the size of a video frame, (720, 1280, 3)."""
    from lookonce.data.synthetic import scene

    drawn = scene(np.random.default_rng(OBJECT_SEED + seed)).image
    return cv2.resize(drawn, IMAGE[::-1], interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False)


def _images(case: BenchCase) -> NDArray[np.uint8]:
    """Return a batch of images at the input size, (B, H, W, 3)."""
    resized = [cv2.resize(image(seed), case.size[::-1]) for seed in range(case.batch)]
    return np.stack(resized).astype(np.uint8, copy=False)
