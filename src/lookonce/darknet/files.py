"""The files that make one Darknet model: `.cfg`, `.weights` beside it, class names where there are any."""

from dataclasses import dataclass
from pathlib import Path

from lookonce.darknet.cfg import read_cfg
from lookonce.darknet.classic import recognise
from lookonce.darknet.names import find_names
from lookonce.darknet.network import Network, resolve
from lookonce.darknet.weights import ConvWeights, check_weights, read_weights
from lookonce.errors import ModelFileError
from lookonce.metadata import BN_EPSILON, ModelInfo


@dataclass(frozen=True, slots=True)
class DarknetModel:
    """A detector in Darknet's form, its weights not yet read.

    Attributes:
        network: the resolved `.cfg`.
        info: what it says of itself, in lookonce's words.
        weights: the `.weights` file.
        names: the file of class names; None: there is none, and the classes are called by their numbers.
    """

    network: Network
    info: ModelInfo
    weights: Path
    names: Path | None

    def read_weights(self) -> list[ConvWeights]:
        """Every convolution in file order, checked number by number.

        Raises:
            ModelFileError: not the weights of this `.cfg`, or damaged.
        """
        convolutions = read_weights(self.weights, self.network.convolutions)[1]
        check_weights(self.weights, self.network.convolutions, convolutions)
        return convolutions


def open_darknet(cfg: Path) -> DarknetModel:
    """Read a `.cfg` and find what belongs to it.

    Raises:
        ModelFileError: a `.cfg` that cannot be used or is no detector, weights that are missing, names that
            do not fit.
    """
    network = resolve(read_cfg(cfg))
    if not network.scales:
        raise ModelFileError(f"{cfg}: expected a detector, found no [yolo] section")
    weights = cfg.with_suffix(".weights")
    if not weights.is_file():
        others = ", ".join(sorted(file.name for file in cfg.parent.glob("*.weights"))) or "none"
        raise ModelFileError(f"{cfg}: expected its weights as {weights.name} beside it, found {others}")
    names, names_file = find_names(cfg, network.classes)
    return DarknetModel(network, describe(network, names), weights, names_file)


def describe(network: Network, names: tuple[str, ...]) -> ModelInfo:
    """What a Darknet model says of itself, in lookonce's words: scales from fine to coarse."""
    architecture, width = recognise(network) or ("darknet", 1.0)
    return ModelInfo(
        architecture,
        names=names,
        anchors=tuple(scale.section.anchors for scale in network.scales),
        strides=tuple(scale.stride for scale in network.scales),
        input_size=(network.cfg.net.height, network.cfg.net.width),
        width=width,
        bn_epsilon=BN_EPSILON,
    )
