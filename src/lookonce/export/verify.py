"""Verify an export: read the file back from disk and compare it with the original model.

Legend: **B** batch, **H**, **W** input height and width.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce._optional import require
from lookonce.errors import ModelFileError
from lookonce.export.graph import PLAIN, GraphForm
from lookonce.export.nms import GraphNms
from lookonce.geometry.boxes import clip
from lookonce.geometry.letterbox import Letterbox
from lookonce.metadata import ModelInfo
from lookonce.runtime.backends import Backend, as_planes, open_backend
from lookonce.runtime.options import DetectOptions
from lookonce.runtime.postprocess import postprocess

# Engines sum in different orders; docs/export.md has differences measured in float32.
BOX_TOLERANCE = 0.1  # input pixels
SCORE_TOLERANCE = 2e-4  # for objectness and class probabilities; see benchmarks/rounding.md

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Proof:
    """The result of a verification.

    Attributes:
        boxes: largest difference between sides of boxes, clipped to the input, in input pixels.
        scores: largest difference between values of objectness or class probability.
        images: number of images compared.
        detections: number of detections from NMS in the graph; None without NMS in the graph.
    """

    boxes: float
    scores: float
    images: int
    detections: int | None


@dataclass(frozen=True, slots=True)
class Original:
    """The model that an export must agree with, and the images to compare on.

    Attributes:
        model: model file.
        info: description in the exported file.
        images: RGB images (height, width, 3) of any sizes.
        weights: weights of a `.cfg`; None for the file beside it.
    """

    model: Path
    info: ModelInfo
    images: Sequence[Images]
    weights: Path | None = None


def prove(original: Original, exported: Path, form: GraphForm = PLAIN) -> Proof:
    """Run the original and the exported model on the same images, and compare their results.

    All candidates must agree, and so must the detections from NMS in the graph. If shapes are open, all
    images are run as one batch, and the first one again at another size. An ONNX graph with planes is also
    run by OpenCV, unless it includes NMS, which OpenCV 4 cannot run.

    Args:
        original: original model and images.
        exported: exported `.onnx`, `.xml` or `.param` file.
        form: form of the graph's input and output.

    Raises:
        ModelFileError: the results differ by more than `BOX_TOLERANCE` or `SCORE_TOLERANCE`, or a detection
            differs.
    """
    nms, planes = form.nms, form.planes
    with ExitStack() as engines:
        reference = engines.enter_context(closing(_open_reference(original.model, original.weights)))
        if nms is None:
            backend = engines.enter_context(closing(open_backend(exported)))
        else:  # candidates and detections of the same graph
            pair = _openvino_pair(exported) if exported.suffix == ".xml" else _onnx_pair(exported)
        opencv = _opencv(exported) if planes and exported.suffix == ".onnx" and nms is None else None
        boxes = scores = 0.0
        detections = 0
        static = form.static or planes or any(reference.input_shape)
        for batch in _batches(original.images, original.info, static=static):
            expected = reference(batch)
            candidates, rows = (backend(batch), None) if nms is None else pair(batch)
            for found in (candidates, opencv(batch)) if opencv else (candidates,):
                # `np.maximum` keeps NaN, whereas `max` may lose it. Boxes are clipped because far outside the
                # input, the last bit of the exponential is worth many pixels.
                inside = [clip(each[..., :4], *batch.shape[1:3]) for each in (found, expected)]
                boxes = float(np.maximum(boxes, _apart(*inside)))
                scores = float(np.maximum(scores, _apart(found[..., 4:], expected[..., 4:])))
            if nms is not None and rows is not None:
                _check_rows(exported, rows, candidates, batch, nms)
                detections += int(np.count_nonzero(rows[..., 4]))
    if not (boxes < BOX_TOLERANCE and scores < SCORE_TOLERANCE):
        raise ModelFileError(
            f"{exported.name}: expected the results of {original.model}, found boxes {boxes:.2g} pixels and "
            f"scores {scores:.2g} off (allowed: {BOX_TOLERANCE:g} and {SCORE_TOLERANCE:g}); the file is not "
            "kept"
        )
    return Proof(boxes, scores, len(original.images), None if nms is None else detections)


def _open_reference(model: Path, weights: Path | None) -> Backend:
    """Open the original model; a `.safetensors` in torch on the CPU, with batch normalization not folded."""
    if model.suffix.lower() != ".safetensors":
        return open_backend(model, weights=weights)
    require("torch", "train")
    from lookonce.model.backend import TorchBackend
    from lookonce.model.files import load_model

    network, info = load_model(model)
    return TorchBackend(network.eval(), info, path=model)


def _onnx_pair(path: Path) -> Callable[[Images], tuple[Floats, Floats]]:
    """Return a function from images to the candidates inside a graph and its detections."""
    import onnx

    from lookonce._onnxruntime import ort

    model = onnx.load(path)
    model.graph.output.add(name="candidates").type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    planes = session.get_inputs()[0].type == "tensor(float)"

    def run(images: Images) -> tuple[Floats, Floats]:
        rows, candidates = session.run(None, {"images": as_planes(images) if planes else images})
        return candidates, rows

    return run


def _opencv(path: Path) -> Callable[[Images], Floats]:
    """Return a function from an image (1, H, W, 3) to its candidates, with OpenCV.

    Raises:
        ModelFileError: OpenCV cannot read the file.
    """
    try:
        network = cv2.dnn.readNetFromONNX(np.frombuffer(path.read_bytes(), np.uint8))
    except cv2.error as error:
        why = " ".join(str(error).split())[:200]
        raise ModelFileError(f"{path.name}: OpenCV {cv2.__version__} cannot read it: {why}") from error

    def run(images: Images) -> Floats:
        network.setInput(as_planes(images))
        return np.asarray(network.forward(), np.float32)

    return run


def _openvino_pair(path: Path) -> Callable[[Images], tuple[Floats, Floats]]:
    from lookonce.runtime.openvino_backend import openvino_core

    core = openvino_core()
    model = core.read_model(path)
    model.add_outputs("candidates")
    network = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    planes = model.inputs[0].get_element_type().is_real()

    def run(images: Images) -> tuple[Floats, Floats]:
        rows, candidates = network([as_planes(images) if planes else images]).to_tuple()
        return candidates, rows

    return run


def _batches(images: Sequence[Images], info: ModelInfo, *, static: bool) -> Iterator[Images]:
    """Yield batches (B, H, W, 3) of images fitted to the input size; one per image if static."""

    def fitted(image: Images, size: tuple[int, int]) -> Images:
        return Letterbox.for_policy(info.fit, image.shape[:2], size).image(image)

    batch = np.stack([fitted(image, info.input_size) for image in images])
    if static:
        yield from batch[:, None]
        return
    yield batch
    height, width = info.input_size
    if height % 32 == width % 32 == 0:  # a network for another size may not support a second one
        yield fitted(images[0], (height, width + max(info.strides)))[None]


def _apart(a: Floats, b: Floats) -> float:
    return float(np.abs(a - b).max(initial=0)) if a.shape == b.shape else float("inf")


def _check_rows(exported: Path, rows: Floats, candidates: Floats, batch: Images, nms: GraphNms) -> None:
    """Check that a graph's detections are identical to those of `postprocess` on the same candidates.

    Raises:
        ModelFileError: they differ.
    """
    whole = Letterbox.stretch(batch.shape[1:3], batch.shape[1:3])
    names = tuple(map(str, range(len(nms.conf))))
    options = DetectOptions(conf=dict(zip(names, nms.conf, strict=True)), iou=nms.iou)
    wrong = expected = 0
    for found, each in zip(rows, candidates, strict=True):
        own = postprocess(each, whole, options, names)
        wanted = set(map(tuple, np.column_stack([own.boxes, own.scores, own.labels]).tolist()))
        filled = found[: len(wanted)]  # by descending score, then zeros
        wrong += len(set(map(tuple, filled.tolist())) ^ wanted)
        wrong += int((np.diff(filled[:, 4]) > 0).sum() + np.count_nonzero(found[len(wanted) :]))
        expected += len(wanted)
    if wrong or len(rows) != len(candidates):
        raise ModelFileError(
            f"{exported.name}: expected the {expected} detections of lookonce's own NMS by descending "
            f"score, found {np.count_nonzero(rows[..., 4])}, {wrong} of them different; the file is not kept"
        )
