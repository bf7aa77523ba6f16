"""The torch backend: a network, freshly loaded or still in training, for the `Detector`."""

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
    """Network and decoding as one function; see `runtime.backends.Backend`.

    The network is used unchanged, on its device and in its mode.
    """

    def __init__(
        self,
        network: nn.Module,
        info: ModelInfo,
        arithmetic: Arithmetic = "float32",
        path: Path | None = None,
    ) -> None:
        """Take a network.

        Args:
            network: from images to raw maps.
            info: its description.
            arithmetic: precision of its weights.
            path: the file it was read from, whose output is checked; None: a network in training, which may
                diverge.
        """
        self.info = info
        self.input_shape: InputShape = (None, None, None)
        self.engine = engine_text("torch", info, arithmetic, str(next(network.parameters()).device))
        self._network: nn.Module | None = network
        self._decodings, self._path = decodings_of(info), path
        self._features: local | None = None
        self._preparing = Lock()  # workers share the backend: one of them registers the hooks

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(B, H, W, 3) uint8 RGB -> (B, K, 5+C) float32; see `runtime.backends.Backend`.

        Raises:
            ModelFileError: scores of a model file are not numbers.
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
        """See `runtime.backends.Backend`; raises what `__call__` raises."""
        with self._preparing:
            if self._features is None:
                features = local()  # hooks run in the calling thread

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
        """Let the network go, which others may hold; calling afterwards is an error."""
        self._network = None

    def _open_network(self) -> nn.Module:
        network = self._network  # stays alive until a call is done, even if another thread closes
        if network is None:
            raise ValueError(f"{self._path or self.info.architecture}: this backend was closed")
        return network


def torch_device(wanted: str = AUTO) -> torch.device:
    """Return the device that torch computes on; `auto`: a GPU with CUDA, else the CPU.

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
        path: the `.safetensors` file.
        threads: threads of torch, for the whole process; None: unchanged.
        arithmetic: precision of the network; decoding is float32 in either.
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
