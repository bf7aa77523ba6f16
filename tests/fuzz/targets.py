"""Readers of files that strangers write, each as `read(path)`; only a `LookonceError` may come out of one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from lookonce._texts import read_names
from lookonce.annotations.recognize import load_splits
from lookonce.darknet.cfg import read_cfg
from lookonce.darknet.classic import recognize
from lookonce.darknet.names import find_names
from lookonce.darknet.network import ConvSpec
from lookonce.darknet.resolve import resolve
from lookonce.darknet.weights import check_weights, read_weights
from lookonce.errors import LookonceError
from lookonce.images import read_image, read_size
from lookonce.model.files import load_weights
from lookonce.recipe import load_settings
from lookonce.runtime.backends import open_backend
from lookonce.tiff import LargeImage, decode_tiff_page, is_large_tiff, tiff_pages

CORPUS = Path(__file__).parent / "corpus"
CONVOLUTIONS = [ConvSpec(0, 3, 3, 2, 1, 1, True), ConvSpec(1, 9, 2, 3, 1, 1, False)]


class Target(NamedTuple):
    """A file's place in its folder, and how it is read."""

    file: str
    read: Callable[[Path], object]
    tokens: str = ""
    """words that mutations insert, separated by spaces"""


def _folder(levels: int) -> Callable[[Path], object]:
    return lambda file: load_splits(file.parents[levels])


def _cfg(file: Path) -> None:
    network = resolve(read_cfg(file))
    if network.scales:
        recognize(network)


def _weights(file: Path) -> None:
    check_weights(file, CONVOLUTIONS, read_weights(file, CONVOLUTIONS)[1])


def _names(file: Path) -> None:
    read_names(file)
    find_names(file.with_suffix(".cfg"), 2)


def _image(file: Path) -> None:
    height, width = read_size(file)
    if height * width < 1 << 20:
        read_image(file)
    for at in tiff_pages(file):
        if at > 0 and not is_large_tiff(file, at):
            decode_tiff_page(file, at, "page")
    if tiff_pages(file):
        large = LargeImage(file)
        large.read(0, min(large.shape[0], 300), 0, min(large.shape[1], 300))


TOKENS = {
    "json": '"images" "annotations" "categories" "bbox" "id" "image_id" null -1 1e400 NaN [] {} "a"',
    "xml": "<object> </object> <name> <bndbox> <xmin> nan <!ENTITY ]]> &amp; <size>",
    "text": "0 -1 0.5 1e9 nan inf 0x1 a.png 1,2,3,4,0 ,",
    "yaml": "train: val: names: nc: path: model: size: batch: augment: [] {} null &a *a !!python/x .nan",
    "cfg": "[net] [yolo] [route] [convolutional] filters= layers=-1 size= mask= anchors=",
    "safetensors": '"dtype" "shape" "data_offsets" "F32" __metadata__ [] {}',
}
TARGETS = {
    "image": Target("a.jpg", _image),
    "tga": Target("a.tga", _image),
    "coco": Target("set.json", load_splits, TOKENS["json"]),
    "voc": Target("Annotations/a.xml", _folder(1), TOKENS["xml"]),
    "cvat": Target("annotations.xml", load_splits, TOKENS["xml"]),
    "labelme": Target("a.json", load_splits, TOKENS["json"]),
    "labelstudio": Target("tasks.json", load_splits, TOKENS["json"]),
    "createml": Target("all.json", load_splits, TOKENS["json"]),
    "csv": Target("train.csv", load_splits, TOKENS["text"]),
    "zip": Target("set.zip", load_splits),
    "yolo": Target("labels/a.txt", _folder(1), TOKENS["text"]),
    "lines": Target("train.txt", lambda file: load_splits(file, ("cat", "dog")), TOKENS["text"]),
    "dataset-yaml": Target("set.yaml", load_splits, TOKENS["yaml"]),
    "settings": Target("recipe.yaml", load_settings, TOKENS["yaml"]),
    "cfg": Target("x.cfg", _cfg, TOKENS["cfg"]),
    "weights": Target("x.weights", _weights),
    "names": Target("x.names", _names),
    "safetensors": Target("x.safetensors", load_weights, TOKENS["safetensors"]),
    "onnx": Target("x.onnx", open_backend),
}


def prepare(folder: Path, target: Target) -> Path:
    """Put an image, labels and names around the place of the target's file; return that place."""
    file = folder / target.file
    for name in ("images", file.parent.relative_to(folder), "JPEGImages"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    image = cv2.imencode(".png", np.zeros((24, 32, 3), np.uint8))[1].tobytes()
    for name in ("a.png", "images/a.png", "JPEGImages/a.png"):
        if "/" not in target.file or "/" in name:
            (folder / name).write_bytes(image)
    if target.file == "set.yaml":
        (folder / "labels").mkdir()
        (folder / "labels/a.txt").write_text("0 0.5 0.5 0.25 0.5\n")
    if target.file.startswith("labels/"):
        (folder / "data.yaml").write_text("train: images\nval: images\nnames: [cat, dog]\n")
    return file


def attempt(target: Target, file: Path, content: bytes) -> str:
    """Read `content`; "accepted", or the message of the refusal. Whatever else is raised is a finding."""
    file.write_bytes(content)
    try:
        target.read(file)
    except LookonceError as refusal:
        return json.dumps(str(refusal))
    return "accepted"
