"""Open a `.cfg`: make its ONNX graph once, keep it under the hash of what went into it."""

import hashlib
import logging
from pathlib import Path
from typing import Any

import onnx

from lookonce._files import cache_folder, replacing
from lookonce.darknet.cfg import read_cfg
from lookonce.darknet.classic import recognise
from lookonce.darknet.names import find_names
from lookonce.darknet.network import Network, resolve
from lookonce.darknet.onnx_graph import build_onnx
from lookonce.darknet.weights import BN_EPSILON, check_weights, read_weights
from lookonce.errors import ModelFileError
from lookonce.metadata import ModelInfo

GRAPH_VERSION = 1  # raise it when the same files give another graph
log = logging.getLogger(__name__)


def cached_onnx(cfg: Path, **_: Any) -> Path:
    """The ONNX file of a Darknet model, whose `.weights` stand beside its `.cfg`.

    Made on first use, in the folder `darknet` of `cache_folder`; the name holds a hash of `.cfg`, weights and
    class names, so a changed file makes a new one. Processes may do this at the same time. The options of
    a backend are for the one that runs the result.

    Raises:
        ModelFileError: one of the files is missing, damaged, or does not fit the others; the cache folder
            cannot be written.
    """
    network = resolve(read_cfg(cfg))
    weights = weights_beside(cfg)
    info = describe(network, find_names(cfg, network.classes)[0])
    made = cache_folder() / "darknet" / f"{cfg.stem}-{_content(cfg, weights, info)}.onnx"
    if not made.exists():
        _convert(network, weights, info, made)
    return made


def weights_beside(cfg: Path) -> Path:
    """The `.weights` file of a `.cfg`.

    Raises:
        ModelFileError: there is none; the message names the weights that are there.
    """
    weights = cfg.with_suffix(".weights")
    if not weights.is_file():
        others = ", ".join(sorted(file.name for file in cfg.parent.glob("*.weights"))) or "none"
        raise ModelFileError(f"{cfg}: expected its weights as {weights.name} beside it, found {others}")
    return weights


def describe(network: Network, names: tuple[str, ...]) -> ModelInfo:
    """What a Darknet model says of itself, in lookonce's words: scales from fine to coarse."""
    architecture, width = recognise(network) or ("darknet", 1.0)
    return ModelInfo(
        architecture,
        names=names,
        anchors=tuple(scale.section.priors for scale in network.scales),
        strides=tuple(scale.stride for scale in network.scales),
        input_size=(network.cfg.net.height, network.cfg.net.width),
        width=width,
        bn_epsilon=BN_EPSILON,
    )


def _content(cfg: Path, weights: Path, info: ModelInfo) -> str:
    """A hash of everything that goes into the graph."""
    digest = hashlib.sha256(f"{GRAPH_VERSION} {info.to_json()}".encode())
    for file in (cfg, weights):
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()[:24]


def _convert(network: Network, weights: Path, info: ModelInfo, made: Path) -> None:
    arrays = read_weights(weights, network.convolutions)[1]
    check_weights(weights, network.convolutions, arrays)
    model = build_onnx(network, arrays, info)
    if network.cfg.ignored:
        log.warning(
            "%s: these settings do not change what is detected and are not used: %s",
            network.cfg.file,
            ", ".join(network.cfg.ignored),
        )
    try:
        with replacing(made) as temporary:
            onnx.save(model, temporary)
    except OSError as error:
        raise ModelFileError(
            f"{made}: cannot be written ({error.strerror}); set LOOKONCE_CACHE to a folder with room"
        ) from error
