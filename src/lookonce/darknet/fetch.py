"""Download the official weights from their publisher or a mirror.

Only weights are downloaded; the networks are known, so their `.cfg` and `.names` are written here.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from lookonce._cache import cache_folder
from lookonce._files import write_text
from lookonce.darknet.classic import classic_cfg
from lookonce.darknet.download import Meter, RemoteFile, address_of, download
from lookonce.errors import ConfigError, DownloadError
from lookonce.metadata import ModelInfo
from lookonce.networks import NETWORKS

MIRROR = "LOOKONCE_MIRROR"  # environment variable with a URL to use instead of `PUBLISHED`
PUBLISHED = ("https://pjreddie.com/media/files", "https://data.pjreddie.com/files")
HEADERS = {
    "Referer": "https://pjreddie.com",  # without it, the first server responds with status 403
    "User-Agent": "lookonce",
}

# The 80 classes of COCO, in the order and spelling of Darknet's coco.names.
_COCO = """
person, bicycle, car, motorbike, aeroplane, bus, train, truck, boat, traffic light, fire hydrant,
stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe,
backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat,
baseball glove, skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl,
banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, sofa, pottedplant,
bed, diningtable, toilet, tvmonitor, laptop, mouse, remote, keyboard, cell phone, microwave, oven,
toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush
"""
COCO_NAMES = tuple(name.strip() for name in _COCO.split(","))


@dataclass(frozen=True, slots=True)
class Published:
    """A published network.

    Attributes:
        weights: weight file.
        info: description of the detector; None for a backbone alone.
        ap50: published AP at IoU 0.50 on COCO test-dev at the detector's input size, from the table at
            https://pjreddie.com/darknet/yolo/; also in the abstract of arXiv:1804.02767 for yolov3, and in
            the README of https://github.com/AlexeyAB/darknet for yolov3-spp.
    """

    weights: RemoteFile
    info: ModelInfo | None
    ap50: float | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """Paths of the fetched files; `cfg` and `names` are None for a backbone alone."""

    weights: Path
    cfg: Path | None = None
    names: Path | None = None


def fetch(name: str, meter: Meter) -> Fetched:
    """Return the files of a network in the folder `models` of `cache_folder`, downloaded if necessary.

    Raises:
        ConfigError: the name is unknown, or `LOOKONCE_MIRROR` is not a URL.
        DownloadError: the weights cannot be downloaded, or a file cannot be written.
    """
    published = find(name)
    folder = cache_folder() / "models"
    weights = download(published.weights, folder, mirrors(), HEADERS, meter)
    if published.info is None:
        return Fetched(weights)
    names, cfg = weights.with_suffix(".names"), weights.with_suffix(".cfg")
    _write(names, "".join(f"{each}\n" for each in published.info.names))
    _write(cfg, classic_cfg(published.info))
    return Fetched(weights, cfg, names)


def find(name: str) -> Published:
    """Return the published network with a given name.

    Raises:
        ConfigError: the name is unknown.
    """
    if name not in REGISTRY:
        raise ConfigError(f"{name}: expected one of {', '.join(REGISTRY)}")
    return REGISTRY[name]


def mirrors() -> tuple[str, ...]:
    """Return the URLs to try, in order: `LOOKONCE_MIRROR` alone if it is set, else `PUBLISHED`.

    Raises:
        ConfigError: `LOOKONCE_MIRROR` is not a URL.
    """
    chosen = os.environ.get(MIRROR)
    if not chosen:
        return PUBLISHED
    if not chosen.startswith(("https://", "http://", "file:///")):
        raise ConfigError(
            f"{MIRROR}: expected https://..., http://... or file:///..., found {address_of(chosen)!r}"
        )
    return (chosen,)


def _write(path: Path, text: str) -> None:
    """Write a file unless it already has this text, because a shared cache may be read-only."""
    try:
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)
    except OSError as error:
        raise DownloadError(f"{path}: cannot be written: {error.strerror or error}") from error


def _detector(architecture: str, *, side: int, ap50: float, size: int, sha256: str) -> Published:
    strides = NETWORKS[architecture].strides
    info = ModelInfo(architecture, COCO_NAMES, NETWORKS[architecture].anchors, strides, (side, side))
    return Published(RemoteFile(f"{architecture}.weights", size, sha256), info, ap50)


REGISTRY = {
    "yolov3": _detector(
        "yolov3",
        side=608,
        ap50=0.579,
        size=248_007_048,
        sha256="523e4e69e1d015393a1b0a441cef1d9c7659e3eb2d7e15f793f060a21b32f297",
    ),
    "yolov3-spp": _detector(
        "yolov3-spp",
        side=608,
        ap50=0.606,
        size=252_209_544,
        sha256="87a1e8c85c763316f34e428f2295e1db9ed4abcec59dd9544f8052f50de327b4",
    ),
    "yolov3-tiny": _detector(
        "yolov3-tiny",
        side=416,
        ap50=0.331,
        size=35_434_956,
        sha256="dccea06f59b781ec1234ddf8d1e94b9519a97f4245748a7d4db75d5b7080a42c",
    ),
    # the first 52 convolutions, trained on ImageNet; no checksum is published
    "darknet53": Published(RemoteFile("darknet53.conv.74", 162_482_580), None),
}
