"""The networks with names: those that can be built, and the trained ones in the package."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from lookonce.geometry.anchors import YOLOV3, YOLOV3_TINY, YOLOV3_TINY_3L, Anchors


@dataclass(frozen=True, slots=True)
class Layout:
    """The layers and scales of a network.

    Attributes:
        convolutions: number of convolutions.
        backbone: number of convolutions in the backbone.
        strides: side of a cell in input pixels on each scale, finest scale first.
        anchors: (width, height) of the published anchors of each scale in input pixels, finest scale first.
    """

    convolutions: int
    backbone: int
    strides: tuple[int, ...]
    anchors: Anchors


NETWORKS: dict[str, Layout] = {
    "yolov3": Layout(75, 52, (8, 16, 32), YOLOV3),
    "yolov3-spp": Layout(76, 52, (8, 16, 32), YOLOV3),
    "yolov3-tiny": Layout(13, 7, (16, 32), YOLOV3_TINY),
    "yolov3-tiny-3l": Layout(16, 7, (8, 16, 32), YOLOV3_TINY_3L),
}
NETWORK_FILES = (".cfg", ".weights", ".safetensors")  # files with a network, or beside its `.cfg`
MODELS = f"{', '.join(NETWORKS)}, or a .cfg"


def is_network(model: str) -> bool:
    """Return whether a text is the name of a network, or by its suffix that of a file with one."""
    return model in NETWORKS or Path(model).suffix.lower() in NETWORK_FILES


RUN_MODEL = "best.safetensors"  # file in a run folder with the best model
RUN_SETTINGS = "settings.yaml"  # file in a run folder with its settings


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A trained network in the package: `NAME.cfg`, `.weights` and `.names` in `BUILT_IN_FOLDER`.

    Attributes:
        network: name given by the publisher.
        origin: URL of the publisher.
        input_size: (height, width) of the input.
        classes: number of classes.
        size: size of the weights in bytes.
        sha256: SHA-256 of the weights, in hexadecimal.
        ap50: published AP at IoU 0.50 on COCO val2017.
        milliseconds: time per image on one core, from `benchmarks/builtin.md`.
    """

    network: str
    origin: str
    input_size: tuple[int, int]
    classes: int
    size: int
    sha256: str
    ap50: float
    milliseconds: float


BUILT_IN_FOLDER = Path(__file__).with_name("builtin")
BUILT_IN = {
    "coco": BuiltIn(
        "yolo-fastest-1.1-xl",
        "https://github.com/dog-qiuqiu/Yolo-Fastest",
        input_size=(320, 320),
        classes=80,
        size=3_693_964,
        sha256="fac5fb41786c1f38f04972a658443b189f48720d7d117f9a044100e98a35b0c5",
        ap50=0.343,
        milliseconds=10.8,
    ),
}
START = "coco"  # weights from which training starts by default, for the reasons in benchmarks/start.md


def model_path(model: str | PathLike[str]) -> Path:
    """Return the path of a model: for `coco`, the `.cfg` in the package; for a run folder, its best model.

    Any other text is a path. Model files have suffixes, so `coco` cannot be a file; a folder of that name is
    given as `./coco`.
    """
    if str(model) in BUILT_IN:
        return BUILT_IN_FOLDER / f"{model}.cfg"
    path = Path(model)
    is_run = any((path / name).is_file() for name in (RUN_MODEL, RUN_SETTINGS))
    return path / RUN_MODEL if is_run else path


def model_name(path: Path) -> str:
    """Return the name of a built-in model, else the path, for messages; the inverse of `model_path`."""
    return path.stem if path.parent == BUILT_IN_FOLDER else str(path)
