"""Write videos like those of other programs, using only OpenCV."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np


def write_video(path: Path, frames: Iterable[np.ndarray], rate: float, codec: str = "mp4v") -> Path:
    """Write RGB frames (H, W, 3) of one size to a video in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = None
    for rgb in frames:
        if writer is None:
            code = cv2.VideoWriter.fourcc(*codec)
            writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, rate, rgb.shape[1::-1])
        writer.write(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    assert writer is not None
    writer.release()
    return path
