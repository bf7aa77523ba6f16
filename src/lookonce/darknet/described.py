"""Convert a network to the description stored in a model file, and back."""

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

from lookonce._optional import require
from lookonce.darknet.beside import find_cfg, has_cfg
from lookonce.darknet.cfg import Cfg, parse_cfg, read_cfg
from lookonce.darknet.classic import classic_cfg, recognize
from lookonce.darknet.heads import with_heads, with_input
from lookonce.darknet.network import Network
from lookonce.darknet.resolve import resolve
from lookonce.errors import ModelFileError
from lookonce.geometry.anchors import Anchors
from lookonce.geometry.decode import YOLO, Decoding
from lookonce.geometry.letterbox import Fit
from lookonce.geometry.sizes import to_multiple
from lookonce.metadata import BN_EPSILON, DARKNET, LARGEST_STRIDE, METADATA_KEY, ModelInfo
from lookonce.networks import NETWORK_FILES, NETWORKS


def fit_of(network: Network) -> tuple[Fit, str]:
    """Return how images are fitted to the input size, and the reason, for messages."""
    net = network.cfg.net
    if net.letter_box is not None:
        return ("letterbox" if net.letter_box else "stretch"), f"letter_box={net.letter_box:d} in [net]"
    if net.stretching:
        return "stretch", f"{net.stretching} belongs to AlexeyAB's Darknet, which stretches images"
    return "letterbox", "nothing in it goes beyond the original Darknet, which letterboxes images"


def describe(network: Network, names: tuple[str, ...]) -> ModelInfo:
    """Return the description of a Darknet model, with its scales from fine to coarse."""
    architecture, width = recognize(network) or (DARKNET, 1.0)
    return ModelInfo(
        architecture,
        names=names,
        anchors=tuple(scale.anchors for scale in network.scales),
        strides=tuple(scale.stride for scale in network.scales),
        input_size=(network.cfg.net.height, network.cfg.net.width),
        width=width,
        bn_epsilon=BN_EPSILON,
        fit=fit_of(network)[0],
        cfg=network.cfg.text if architecture == DARKNET else "",
    )


def network_of(info: ModelInfo) -> Network:
    """Return the network of a described model, with all shapes at its input size.

    Raises:
        ModelFileError: the architecture is unknown, or the `.cfg` in the description cannot be used or
            contradicts it.
    """
    if info.architecture in NETWORKS:
        return resolve(parse_cfg(classic_cfg(info), f"{info.architecture}.cfg"))
    if info.architecture != DARKNET or not info.cfg:
        known = f"{', '.join(NETWORKS)}, or {DARKNET} with its .cfg"
        raise ModelFileError(f"expected one of the architectures {known}, found {info.architecture!r}")
    network = resolve(parse_cfg(info.cfg, "its .cfg"))
    anchors = tuple(scale.anchors for scale in network.scales)
    strides = tuple(scale.stride for scale in network.scales)
    if (anchors, strides) != (info.anchors, info.strides) or network.classes != len(info.names):
        raise ModelFileError("expected the anchors, strides and classes of its .cfg in the description")
    return resolve(with_input(network.cfg, info.input_size, info.fit))


def cfg_of(model: str) -> Cfg:
    """Read the network of a file: a `.cfg`, weights with their `.cfg` beside them, or a `.safetensors`.

    Raises:
        ModelFileError: the file cannot be used.
        MissingExtraError: the file is a `.safetensors`, whose library is not installed.
    """
    path = Path(model)
    if path.suffix.lower() != ".safetensors":
        return read_cfg(find_cfg(path))
    safetensors = require("safetensors", "train")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            described = (file.metadata() or {}).get(METADATA_KEY, "")
    except (safetensors.SafetensorError, OSError) as error:
        raise ModelFileError(f"{path}: expected a lookonce model (.safetensors): {error}") from error
    return network_of(ModelInfo.from_json(described, str(path))).cfg


def holds_detector(weights: Path) -> bool:
    """Return whether weights come with a description of a whole network, as those of a backbone do not."""
    suffix = weights.suffix.lower()
    return suffix in NETWORK_FILES and (suffix != ".weights" or has_cfg(weights))


def settings_of(weights: Path) -> dict[str, Any]:
    """Return the training settings for the network of a detector's weights.

    For a named network these are name, width, size and, if they are not the usual ones, anchors; for any
    other, the file itself is the model.

    Raises:
        ModelFileError, MissingExtraError: as in `cfg_of`.
    """
    network = resolve(cfg_of(str(weights)))
    if (known := recognize(network)) is None:
        return {"model": str(weights)}
    architecture, width = known
    anchors = tuple(scale.anchors for scale in network.scales)
    settings = {"model": architecture, "width": width, "size": published_size(str(weights))}
    return settings if anchors == NETWORKS[architecture].anchors else settings | {"anchors": anchors}


def published_size(model: str) -> tuple[int, int] | None:
    """Return (height, width) of a file's network, rounded to multiples of its strides; None for a name.

    Raises:
        ModelFileError, MissingExtraError: as in `cfg_of`.
    """
    if model in NETWORKS:
        return None
    step, given = math.lcm(32, *published_scales(model)[1]), cfg_of(model).net
    return to_multiple(given.height, step), to_multiple(given.width, step)


def published_scales(model: str) -> tuple[Anchors, tuple[int, ...]]:
    """Return the anchors and strides, finest scale first, of a named network or of a file.

    Raises:
        ModelFileError, MissingExtraError: as in `cfg_of`.
    """
    if model in NETWORKS:
        return NETWORKS[model].anchors, NETWORKS[model].strides
    cfg = cfg_of(model)
    # at the size in the file, the sides of the cells need not be whole numbers
    network = with_heads(cfg, 1, (LARGEST_STRIDE, LARGEST_STRIDE))
    return tuple(scale.anchors for scale in network.scales), tuple(scale.stride for scale in network.scales)


def decodings_of(info: ModelInfo) -> tuple[Decoding, ...]:
    """Return the decoding of each scale, finest first.

    Results are cached, so that this can be called in every training step.

    Raises:
        ModelFileError: the `.cfg` in the description cannot be used.
    """
    return (YOLO,) * len(info.strides) if info.architecture in NETWORKS else _decodings(info.cfg)


@lru_cache(maxsize=8)
def _decodings(cfg: str) -> tuple[Decoding, ...]:
    return resolve(parse_cfg(cfg, "its .cfg")).decodings
