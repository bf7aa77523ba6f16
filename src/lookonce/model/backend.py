"""The torch backend: runs a `.safetensors` model for the `Detector`."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lookonce.model.blocks import fold_batch_norm
from lookonce.model.decode import decode
from lookonce.model.files import load_model
from lookonce.model.network import to_input


class TorchBackend:
    """Network with folded batch normalisation, and decoding; see `runtime.backends.Backend`."""

    def __init__(self, path: Path, *, threads: int | None = None, device: str = "cpu") -> None:
        network, self.info = load_model(path)
        fold_batch_norm(network.eval())
        self._network = network.to(device)
        self._device = device
        if threads is not None:
            torch.set_num_threads(threads)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(B, H, W, 3) uint8 RGB -> (B, K, 5+C) float32; see `runtime.backends.Backend`."""
        with torch.inference_mode():
            batch = torch.from_numpy(images).permute(0, 3, 1, 2).to(self._device)
            raw_maps = self._network(to_input(batch))
            decoded: NDArray[np.float32] = (
                decode(raw_maps, self.info.anchors, self.info.strides).cpu().numpy()
            )
        return decoded

    def close(self) -> None:
        """Let the network go."""
        del self._network
