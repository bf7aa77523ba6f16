"""Torch backend of `Detector`, for a network read from a file or still in training."""

from pathlib import Path
from threading import Lock, local
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lookonce.darknet.described import decodings_of
from lookonce.metadata import ModelInfo
from lookonce.model.blocks import Head, fold_batch_norm
from lookonce.model.decode import decode
from lookonce.model.files import load_model
from lookonce.model.graph import GraphConvolution
from lookonce.model.network import to_input
from lookonce.runtime.backends import Arithmetic, InputShape, check_output, engine_text
from lookonce.runtime.devices import AUTO, choose_device


class TorchBackend:
    """Network with decoding, computed by torch; see `runtime.backends.Backend`.

    The network stays on its device and in its mode (training or evaluation).
    """

    def __init__(
        self,
        network: nn.Module,
        info: ModelInfo,
        arithmetic: Arithmetic = "float32",
        path: Path | None = None,
    ) -> None:
        """Wrap a network.

        Args:
            network: network that computes raw maps from images.
            info: description of the network.
            arithmetic: precision of the weights.
            path: file that the network was read from, which is named if scores are not numbers. None omits
                this check, as a network in training may diverge.
        """
        self.info = info
        self.input_shape: InputShape = (None, None, None)
        self.engine = engine_text("torch", info, arithmetic, str(next(network.parameters()).device))
        self._network: nn.Module | None = network
        self._decodings, self._path = decodings_of(info), path
        self._features: local | None = None
        self._preparing = Lock()  # workers share the backend, but only one must register the hooks

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute (B, H, W, 3) uint8 RGB -> (B, K, 5+C) float32; see `runtime.backends.Backend`.

        Raises:
            ModelFileError: the network was read from a file and its scores are not numbers.
            ValueError: the backend was closed.
        """
        network = self._open_network()
        weight = next(network.parameters())
        with torch.inference_mode():
            batch = torch.from_numpy(images).permute(0, 3, 1, 2).to(weight.device)
            raw_maps = [each.float() for each in network(to_input(batch).to(weight.dtype))]
            decoded: NDArray[np.float32] = (
                decode(raw_maps, self.info.anchors, self.info.strides, self._decodings).cpu().numpy()
            )
        if self._path is not None:
            check_output(self._path, decoded, len(images), len(self.info.names))
        return decoded

    def with_features(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the output and the features of each image; see `runtime.backends.Backend`.

        Raises:
            ModelFileError: as `__call__`.
            ValueError: as `__call__`.
        """
        with self._preparing:
            if self._features is None:
                features = local()  # per thread: hooks run in the thread that calls the network

                def keep(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
                    if (kept := getattr(features, "kept", None)) is not None:
                        kept.append(inputs[0].float().mean(dim=(2, 3)).cpu().numpy())

                for module in self._open_network().modules():
                    if isinstance(module, Head) or (isinstance(module, GraphConvolution) and module.scale):
                        module.register_forward_pre_hook(keep)
                self._features = features
        self._features.kept = []
        decoded = self(images)
        kept, self._features.kept = self._features.kept, None
        return decoded, np.concatenate(kept, axis=1)

    def close(self) -> None:
        """Release the network; later calls raise ValueError."""
        self._network = None

    def _open_network(self) -> nn.Module:
        network = self._network  # keeps it alive during a call, even if another thread closes the backend
        if network is None:
            raise ValueError(f"{self._path or self.info.architecture}: this backend was closed")
        return network


def torch_device(wanted: str = AUTO) -> torch.device:
    """Return the device for torch; `auto` is a CUDA GPU if there is one, else the CPU.

    Raises:
        ConfigError: torch finds no such device.
    """
    found = [f"cuda:{number}" for number in range(torch.cuda.device_count())] + ["cpu"]
    if torch.backends.mps.is_available():
        found.append("mps")
    return torch.device(choose_device(wanted, found, "torch"))


def open_model(
    path: Path, *, threads: int | None = None, arithmetic: Arithmetic = "float32", device: str = AUTO
) -> TorchBackend:
    """Open a model file with its batch normalization folded.

    Args:
        path: `.safetensors` file.
        threads: number of torch's threads, for the whole process; None keeps it.
        arithmetic: precision of the network; decoding is always float32.
        device: as in `torch_device`.

    Raises:
        ModelFileError: as `model.files.load_model`.
        ConfigError: torch finds no such device.
    """
    where = torch_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    network, info = load_model(path)
    fold_batch_norm(network.eval())
    network.to(where, getattr(torch, arithmetic))
    return TorchBackend(network, info, arithmetic, path)
