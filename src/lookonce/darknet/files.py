"""Find the files of a Darknet model: `.cfg`, `.weights` beside it, and class names if there are any."""

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
    """A Darknet detector whose weights are not yet read.

    Attributes:
        network: the resolved `.cfg`.
        info: description in lookonce's terms.
        weights: the `.weights` file.
        names: the file of class names; None if there is none and classes are named by number.
    """

    network: Network
    info: ModelInfo
    weights: Path
    names: Path | None

    def read_weights(self) -> list[ConvWeights]:
        """Return every convolution in file order, with every number checked.

        Raises:
            ModelFileError: the weights belong to a different `.cfg`, or are damaged.
        """
        convolutions = read_weights(self.weights, self.network.convolutions)[1]
        check_weights(self.weights, self.network.convolutions, convolutions)
        return convolutions


def open_darknet(model: Path, weights: Path | None = None) -> DarknetModel:
    """Read a `.cfg` and find the files that belong to it.

    Args:
        model: the `.cfg`; or the `.weights`, if the `.cfg` is beside it.
        weights: the `.weights`; None: NAME.weights beside NAME.cfg, or the only file named like Darknet's
            trainer (NAME_best, _last, _final, _1000).

    Raises:
        ModelFileError: the `.cfg` cannot be used or is not a detector, there are no weights or several, or
            the names do not match.
    """
    cfg = find_cfg(model)
    network = resolve(read_cfg(cfg))
    if not network.scales:
        raise ModelFileError(f"{cfg}: expected a detector, found no [yolo] section")
    weights = weights or find_weights(model)
    names, names_file = find_names(cfg, network.classes)
    return DarknetModel(network, describe(network, names), weights, names_file)
