"""Read Darknet files into networks, and write networks as Darknet files.

A network's convolutions are in the order of the weight file (see `blocks`), so none is looked up by name.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lookonce._onnxruntime import ort
from lookonce.darknet.described import describe
from lookonce.darknet.files import open_darknet
from lookonce.darknet.network import Network
from lookonce.darknet.onnx_graph import build_onnx
from lookonce.darknet.weights import BatchNorm, ConvWeights, Floats, check_weights, read_weights
from lookonce.darknet.write import write_darknet
from lookonce.errors import ModelFileError
from lookonce.metadata import ModelInfo
from lookonce.model.blocks import Convolution, Head
from lookonce.model.files import load_model
from lookonce.model.graph import GraphConvolution
from lookonce.model.network import build, to_input

LARGEST_DIFFERENCE = 1e-4  # relative, of the raw maps of a written model; measured: below 1e-5


def load_darknet(cfg: Path, weights: Path | None = None) -> tuple[nn.Module, ModelInfo]:
    """Read a `.cfg` and its weights into a named network if it is one, else into a `DarknetGraph`.

    Args:
        cfg: `.cfg` file, or a weight file with its `.cfg` beside it.
        weights: weight file; None for the one beside the `.cfg`.

    Raises:
        ModelFileError: a file is damaged or missing, or torch cannot build the network.
    """
    model = open_darknet(cfg, weights)
    network = build(model.info)
    fill(network, model.read_weights())
    return network, model.info


def load_arrays(path: Path) -> tuple[list[ConvWeights], ModelInfo]:
    """Read the description of a `.safetensors` model and its convolutions in the order of a weight file.

    Raises:
        ModelFileError: as `model.files.load_model`.
    """
    network, info = load_model(path)
    return arrays_of(network), info


def arrays_of(network: nn.Module) -> list[ConvWeights]:
    """Return the convolutions of a network in the order of a weight file."""
    arrays = []
    for convolution, norm in _convolutions(network):
        if norm is None:
            arrays.append(ConvWeights(_floats(convolution.weight), _floats(convolution.bias)))
        else:
            scaling = BatchNorm(_floats(norm.weight), _floats(norm.running_mean), _floats(norm.running_var))
            arrays.append(ConvWeights(_floats(convolution.weight), _floats(norm.bias), scaling))
    return arrays


def load_start(source: Path, base: Network) -> dict[str, Tensor]:
    """Read a weight file without a `.cfg` to start training from; return its tensors by name.

    Args:
        source: Darknet weight file, which may end after any convolution, as the backbone `darknet53.conv.74`
            does.
        base: network that the weights belong to.

    Raises:
        ModelFileError: the file ends within a convolution, or is longer than the network.
    """
    arrays = read_weights(source, base.convolutions, partial=True)[1]
    check_weights(source, base.convolutions, arrays)
    network = build(describe(base, ("",) * base.classes))
    fill(network, arrays)
    filled = tuple(f"{name}." for name in convolution_names(network)[: len(arrays)])
    return {name: each for name, each in network.state_dict().items() if name.startswith(filled)}


def save_darknet(cfg: Path, network: nn.Module, info: ModelInfo) -> None:
    """Write a network as `.cfg`, `.weights` and `.names`; see `darknet.write.write_darknet`.

    Raises:
        ModelFileError: Darknet's files cannot store the class names.
    """
    write_darknet(cfg, info, arrays_of(network))


def largest_difference(cfg: Path, network: nn.Module) -> float:
    """Compare a Darknet model, run by ONNX Runtime, with the network it was written from, on a noise image.

    Returns:
        Largest difference between the raw maps, relative to the largest value of the scale.

    Raises:
        ModelFileError: the files cannot be read, or the difference is above `LARGEST_DIFFERENCE`.
    """
    model = open_darknet(cfg)
    graph = build_onnx(model.network, model.read_weights(), model.info, raw_maps=True)
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    noise = np.random.default_rng(0).integers(0, 256, (1, *model.info.input_size, 3), np.uint8)
    _, *found = session.run(None, {"images": noise})
    with torch.inference_mode():
        expected = network.eval()(to_input(torch.from_numpy(noise).permute(0, 3, 1, 2)))
    # np.max, as it returns NaN if any value is NaN; Python's max may not
    shares = [
        float((torch.from_numpy(written) - original).abs().max()) / max(float(original.abs().max()), 1e-30)
        for written, original in zip(found, expected, strict=True)
    ]
    difference = float(np.max(shares))
    if not difference < LARGEST_DIFFERENCE:
        raise ModelFileError(
            f"{cfg}: expected the maps of the model it was written from, found {difference:.1e} off"
        )
    return difference


def convolution_names(network: nn.Module) -> list[str]:
    """Return the name of each convolution, in the order of the weight file."""
    return [name for name, module in network.named_modules() if isinstance(module, Convolution | Head)]


def head_rows(network: nn.Module) -> dict[str, tuple[int, int]]:
    """Return the anchors and the raw numbers besides the classes of each raw map, by convolution name."""
    rows = {}
    for name, module in network.named_modules():
        if isinstance(module, Head):
            rows[name] = module.anchors, 5
        elif isinstance(module, GraphConvolution) and module.scale is not None:
            rows[name] = len(module.scale.anchors), module.scale.decoding.columns
    return rows


def _convolutions(network: nn.Module) -> Iterator[tuple[nn.Conv2d, nn.BatchNorm2d | None]]:
    """Yield every convolution with its batch normalization, in the order of the weight file."""
    for module in network.modules():
        if isinstance(module, Convolution):
            yield module.conv, module.bn if isinstance(module.bn, nn.BatchNorm2d) else None
        elif isinstance(module, Head):
            yield module, None


def fill(network: nn.Module, arrays: Sequence[ConvWeights]) -> None:
    """Copy arrays of the right shapes into the first convolutions of a network."""
    with torch.no_grad():
        for weights, (convolution, norm) in zip(arrays, _convolutions(network), strict=False):
            _copy(weights.kernel, convolution.weight)
            if norm is None:
                _copy(weights.bias, convolution.bias)
            else:
                assert weights.batch_norm is not None
                _copy(weights.bias, norm.bias)
                _copy(weights.batch_norm.gamma, norm.weight)
                _copy(weights.batch_norm.mean, norm.running_mean)
                _copy(weights.batch_norm.variance, norm.running_var)


def _copy(array: Floats, tensor: Tensor | None) -> None:
    assert tensor is not None
    assert tensor.shape == array.shape  # `copy_` alone would repeat a smaller array
    tensor.copy_(torch.from_numpy(np.ascontiguousarray(array, np.float32)))


def _floats(tensor: Tensor | None) -> Floats:
    assert tensor is not None
    return np.ascontiguousarray(tensor.detach().cpu().numpy())
