"""Read any float model as a resolved Darknet network with its weights, for exports and explanations."""

from dataclasses import dataclass
from pathlib import Path

from lookonce._files import check_file
from lookonce._optional import require
from lookonce.darknet.described import network_of
from lookonce.darknet.files import open_darknet
from lookonce.darknet.network import Network
from lookonce.darknet.sections import Convolutional
from lookonce.darknet.weights import ConvWeights
from lookonce.errors import ModelFileError
from lookonce.metadata import METADATA_KEY, ModelInfo
from lookonce.networks import BUILT_IN
from lookonce.runtime.backends import check_weights_option

SUFFIXES = (".safetensors", ".cfg", ".weights", ".onnx")


@dataclass(frozen=True, slots=True)
class FloatModel:
    """A model, independent of its file format.

    Attributes:
        network: layers of the model, with all shapes at `info.input_size`.
        weights: weights of all convolutions, in file order, with batch normalization for `info.bn_epsilon`;
            in an `.onnx` file it is folded, so that `batch_norm` is None.
        info: description of the model.
    """

    network: Network
    weights: list[ConvWeights]
    info: ModelInfo


def read_source(path: Path, weights: str | Path | None = None) -> FloatModel:
    """Read a float model. Only `.safetensors` needs torch.

    Args:
        path: `.safetensors`, `.cfg` or `.weights` with the other beside it, or `.onnx` that lookonce wrote.
        weights: weights of a `.cfg`; None for the file beside it.

    Raises:
        ConfigError: `weights` is given for another kind of file.
        ModelFileError: the file is missing or damaged, or weights cannot be recovered from it.
        MissingExtraError: torch is required but not installed.
    """
    check_file(path, ModelFileError, BUILT_IN)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ModelFileError(
            f"{path}: expected a float model ({', '.join(SUFFIXES)}), found suffix {path.suffix!r}"
        )
    chosen = None if weights is None else Path(weights)
    check_weights_option(path, chosen)
    if suffix == ".onnx":
        return _read_onnx(path)
    if suffix == ".safetensors":
        require("torch", "train")
        from lookonce.model.darknet_io import load_arrays

        arrays, info = load_arrays(path)
        return FloatModel(_network(path, info), arrays, info)
    model = open_darknet(path, chosen)
    return FloatModel(model.network, model.read_weights(), model.info)


def _read_onnx(path: Path) -> FloatModel:
    import onnx  # slow to import

    from lookonce.darknet.onnx_graph import read_convolutions

    try:
        model = onnx.load(path)
    except Exception as error:  # protobuf's and onnx's exceptions share no base below Exception
        raise ModelFileError(f"{path}: expected an ONNX model: {error}") from error
    described = {entry.key: entry.value for entry in model.metadata_props}.get(METADATA_KEY)
    if described is None:
        raise ModelFileError(f"{path}: expected an ONNX file that lookonce wrote, found no description in it")
    info = ModelInfo.from_json(described, str(path))
    network = _network(path, info)
    arrays = read_convolutions(model.graph)  # shared weights may be repeated for each layer
    layers = [layer.index for layer in network.layers if isinstance(layer.section, Convolutional)]
    if len(arrays) == len(layers):
        arrays = [each for layer, each in zip(layers, arrays, strict=True) if layer not in network.shared]
    if [each.kernel.shape for each in arrays] != [spec.kernel_shape for spec in network.convolutions]:
        raise ModelFileError(
            f"{path}: expected the float convolutions of {info.architecture}, found others; give the file it "
            "was made from"
        )
    return FloatModel(network, arrays, info)


def _network(path: Path, info: ModelInfo) -> Network:
    try:
        return network_of(info)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error
