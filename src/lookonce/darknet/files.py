"""Open a Darknet model: the `.cfg`, the `.weights` beside it, and class names if there are any."""

from dataclasses import dataclass
from pathlib import Path

from lookonce.darknet.beside import find_cfg, find_weights
from lookonce.darknet.cfg import read_cfg
from lookonce.darknet.described import describe
from lookonce.darknet.names import find_names
from lookonce.darknet.network import Network
from lookonce.darknet.resolve import resolve
from lookonce.darknet.weights import ConvWeights, check_weights, read_weights
from lookonce.errors import ModelFileError
from lookonce.metadata import ModelInfo


@dataclass(frozen=True, slots=True)
class DarknetModel:
    """A Darknet detector, without its weights in memory.

    Attributes:
        network: resolved `.cfg`.
        info: description of the model.
        weights: `.weights` file.
        names: file with the class names; None if there is none, so that numbers are the names.
    """

    network: Network
    info: ModelInfo
    weights: Path
    names: Path | None

    def read_weights(self) -> list[ConvWeights]:
        """Read and check the weights of all convolutions, in file order.

        Raises:
            ModelFileError: the weights belong to a different `.cfg`, or are damaged.
        """
        convolutions = read_weights(self.weights, self.network.convolutions)[1]
        check_weights(self.weights, self.network.convolutions, convolutions)
        return convolutions


def open_darknet(model: Path, weights: Path | None = None) -> DarknetModel:
    """Read a `.cfg` and find the files that belong to it.

    Args:
        model: `.cfg`, or `.weights` with its `.cfg` beside it.
        weights: `.weights`; None for NAME.weights beside NAME.cfg, or else the only file with an ending that
            Darknet adds in training (NAME_best, _last, _final, _1000).

    Raises:
        ModelFileError: the `.cfg` cannot be used or is not a detector, there are no weights or several, or
            the number of class names does not match.
    """
    cfg = find_cfg(model)
    network = resolve(read_cfg(cfg))
    if not network.scales:
        raise ModelFileError(f"{cfg}: expected a detector, found no [yolo] section")
    weights = weights or find_weights(model)
    names, names_file = find_names(cfg, network.classes)
    return DarknetModel(network, describe(network, names), weights, names_file)
