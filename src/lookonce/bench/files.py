"""Write one model as the files that the contenders read.

The bare engines get the network alone, from float images to raw maps, without normalization and decoding. So
everything else that the Detector does counts as its time.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import onnx
from onnx.utils import Extractor

from lookonce._files import check_file
from lookonce.darknet.beside import SUFFIXES as DARKNET
from lookonce.darknet.beside import find_cfg, find_weights
from lookonce.darknet.ncnn_graph import write_ncnn
from lookonce.errors import ModelFileError
from lookonce.export.source import read_source
from lookonce.networks import BUILT_IN
from lookonce.runtime.backends import check_weights_option

DECODING = "decode_"  # prefix of the nodes of `darknet.onnx_decode`; the first of each scale reads a raw map
NORMALIZING = "Div"  # operator of the last node before the network, which divides pixels by 255


@dataclass(frozen=True, slots=True)
class Files:
    """Files of one model.

    Attributes:
        model: model as given by the user; the `.cfg` of a Darknet model.
        weights: weights of a `.cfg`; None for other models.
        graph: file that the Detector opens: `.onnx`, OpenVINO's `.xml` or ncnn's `.param`.
        network: `.onnx` of the network alone; None for `.xml`, which is cut when it is opened, and `.param`.
        is_float: whether the weights are known to be float32, so that every engine can run the network.
        param: ncnn's `.param`; None if ncnn is not installed or cannot run the model.
    """

    model: Path
    weights: Path | None
    graph: Path
    network: Path | None
    is_float: bool
    param: Path | None = None


def prepare(model: Path, folder: Path, weights: Path | None = None) -> Files:
    """Write the files that the contenders need besides the model.

    Args:
        model: any model file that lookonce reads.
        folder: folder for the files.
        weights: weights of a `.cfg`; None for the file beside it.

    Raises:
        ModelFileError: the model cannot be read.
        ConfigError: `weights` is given for another kind of file.
    """
    check_file(model, ModelFileError, BUILT_IN)
    check_weights_option(model, weights)
    if model.suffix.lower() == ".xml":
        return Files(model, None, model, None, is_float=False)
    if model.suffix.lower() == ".param":
        return Files(model, None, model, None, is_float=False, param=model)
    graph, source = model, None
    if model.suffix.lower() in DARKNET:
        model, weights = find_cfg(model), weights or find_weights(model)
    if model.suffix.lower() != ".onnx":
        from lookonce.darknet.onnx_graph import build_onnx

        source = read_source(model, weights)
        graph = folder / "graph.onnx"
        onnx.save(build_onnx(source.network, source.weights, source.info), graph)
    network = folder / "network.onnx"
    cut = _network_alone(graph)
    onnx.save(cut, network)
    is_float = not any(n.op_type == "DequantizeLinear" for n in cut.graph.node)
    param = None
    if is_float and find_spec("ncnn"):
        # fails for layers that ncnn lacks, and for an `.onnx` whose weights cannot be recovered
        with suppress(ModelFileError):
            source = source or read_source(model)
            write_ncnn(source.network, source.weights, source.info, folder / "model.param")
            param = folder / "model.param"
    return Files(model, weights, graph, network, is_float=is_float, param=param)


def _network_alone(path: Path) -> onnx.ModelProto:
    """Return the part of a graph between normalization and decoding: (B, 3, H, W) float32 -> raw maps."""
    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's exceptions are not public
        raise ModelFileError(f"{path}: expected an ONNX model, found something else: {error}") from error
    pixels = [node.output[0] for node in model.graph.node if node.op_type == NORMALIZING][:1]
    if model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT:  # exported with planes
        pixels = [model.graph.input[0].name]
    maps = [
        node.input[0]
        for node in model.graph.node
        if node.op_type == "Transpose" and node.name.startswith(DECODING)
    ]
    if not pixels or not maps:
        raise ModelFileError(f"{path}: expected a graph that lookonce wrote, found no decoding in it")
    float32 = onnx.TensorProto.FLOAT
    model.graph.value_info.append(
        onnx.helper.make_tensor_value_info(pixels[0], float32, ("batch", 3, "height", "width"))
    )
    for name in maps:
        shape = ("batch", None, f"{name}/rows", f"{name}/columns")
        model.graph.value_info.append(onnx.helper.make_tensor_value_info(name, float32, shape))
    return Extractor(model).extract_model(pixels, maps)


def with_shape(network: onnx.ModelProto, shape: Sequence[int]) -> onnx.ModelProto:
    """Fix the input to a shape (B, 3, H, W), and with it all shapes, because OpenCV 4 needs fixed shapes."""
    for dimension, side in zip(network.graph.input[0].type.tensor_type.shape.dim, shape, strict=True):
        dimension.dim_value = side
    del network.graph.value_info[:]
    for output in network.graph.output:
        output.type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(network)
