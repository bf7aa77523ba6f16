"""Draw the figures of docs/how-yolov3-works.md with the functions of lookonce that the page explains.

    python scripts/figures.py [FOLDER]

FOLDER is docs/images by default. matplotlib and PyTorch are needed: `pip install 'lookonce[train]'`.
"""

import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle
from numpy.typing import NDArray

from lookonce.data.assign import POSITIVE_IOU, anchor_ious, cell_of, choose
from lookonce.data.augment import crop, flip, translate
from lookonce.data.synthetic import scene
from lookonce.geometry.anchors import YOLOV3
from lookonce.geometry.boxes import cxcywh_to_xyxy, giou, iou
from lookonce.geometry.letterbox import Letterbox
from lookonce.metadata import ModelInfo
from lookonce.model.network import build

INK, BLUE, ORANGE, GREEN, GRAY = "#1f2430", "#2563b8", "#d9660b", "#1b8a5a", "#8a93a3"
STRIDES = 8, 16, 32
Boxes = NDArray[np.float32]


def main(folder: Path) -> None:
    """Write every figure."""
    mpl.rcParams.update({"font.size": 11, "text.color": INK, "axes.edgecolor": GRAY, "savefig.dpi": 110})
    for name, draw in FIGURES.items():
        figure = draw()
        figure.savefig(
            folder / f"how_{name}.png", bbox_inches="tight", facecolor="white", metadata={"Software": ""}
        )
        plt.close(figure)


def boxes() -> Any:
    """Draw two overlapping boxes with their intersection, their union, and the smallest box around both."""
    figure, panels = plt.subplots(1, 3, figsize=(9.5, 3.1), layout="constrained")
    a, b = np.array([1.0, 1.0, 5.0, 5.0]), np.array([3.0, 2.5, 8.0, 7.0])
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    titles = "intersection", f"union: IoU {iou(a, b):.2f}", f"enclosing box E: GIoU {giou(a, b):.2f}"
    for panel, title in zip(panels, titles, strict=True):
        panel.set(xlim=(0, 9), ylim=(8, 0), aspect="equal", xticks=[], yticks=[])
        panel.set_title(title, fontsize=11)
        for spine in panel.spines.values():
            spine.set_visible(False)
    panels[0].add_patch(_rectangle((*low, *high), fill=BLUE))
    panels[0].annotate(
        "(max left, max top)", low, (0.2, 7.6), arrowprops={"arrowstyle": "->", "color": INK}, fontsize=9
    )
    panels[0].annotate(
        "(min right, min bottom)",
        high,
        (6.6, 1.6),
        arrowprops={"arrowstyle": "->", "color": INK},
        fontsize=9,
        ha="center",
    )
    union = [(1, 1), (5, 1), (5, 2.5), (8, 2.5), (8, 7), (3, 7), (3, 5), (1, 5)]
    panels[1].add_patch(Polygon(union, facecolor=(*mpl.colors.to_rgb(BLUE), 0.28)))
    panels[2].add_patch(_rectangle((1, 1, 8, 7), fill=GRAY, line="--"))
    for panel in panels:
        for corners, color in ((a, BLUE), (b, ORANGE)):
            panel.add_patch(_rectangle(corners, color))
    return figure


def augmentation() -> Any:
    """Draw a rendered image and its boxes after each step of augmentation, in the order used in training."""
    drawn = scene(np.random.default_rng(7))
    image, found = drawn.image, drawn.boxes
    steps = [("read", image, found)]
    image, found = flip(image, found)
    steps.append(("flip", image, found))
    height, width = image.shape[:2]
    margin = [
        int(found[:, 0].min() * 0.8),
        int(found[:, 1].min() * 0.8),
        width - int((width - found[:, 2].max()) * 0.6),
        height,
    ]
    image, found = crop(image, found, (margin[0], margin[1], margin[2], margin[3]))
    steps.append(("crop", image, found))
    image, found = translate(
        image, found, 0.5 * (image.shape[1] - found[:, 2].max()), -0.6 * found[:, 1].min()
    )
    steps.append(("translate", image, found))
    fit = Letterbox.fit((image.shape[0], image.shape[1]), (416, 416))
    steps.append(("letterbox, 416 x 416", fit.image(np.ascontiguousarray(image)), fit.boxes_in(found)))
    figure, panels = plt.subplots(1, len(steps), figsize=(12, 2.9), layout="constrained")
    for panel, (title, pixels, corners) in zip(panels, steps, strict=True):
        panel.imshow(pixels)
        panel.set(xticks=[], yticks=[])
        panel.set_title(
            f"{title}\n{pixels.shape[1]} x {pixels.shape[0]}"
            if "letterbox" not in title
            else "letterbox\n416 x 416",
            fontsize=10,
        )
        for each in corners:
            panel.add_patch(_rectangle(each, ORANGE, width=1.6))
    return figure


def assignment() -> Any:
    """Draw the anchors of each scale on the cell with the car's center; positive anchors are green."""
    car = Letterbox.fit((576, 768), (416, 416)).boxes_in(np.array([[460, 80, 690, 170]], np.float32))
    cells = cell_of(car, STRIDES, (416, 416))[0]
    ious = anchor_ious(car, cells[None], YOLOV3, STRIDES)
    positive = choose(ious > POSITIVE_IOU, ious)[0].reshape(3, 3)
    figure, panels = plt.subplots(1, 3, figsize=(12, 4.3), layout="constrained")
    for scale, (panel, stride) in enumerate(zip(panels, STRIDES, strict=True)):
        panel.set(xlim=(100, 416), ylim=(300, 0), aspect="equal", xticks=[], yticks=[])
        for line in range(0, 417, stride):
            panel.axvline(line, color=GRAY, linewidth=0.35)
            panel.axhline(line, color=GRAY, linewidth=0.35)
        column, row = cells[scale].tolist()
        panel.add_patch(
            _rectangle((column * stride, row * stride, (column + 1) * stride, (row + 1) * stride), fill=BLUE)
        )
        middle = (cells[scale] + 0.5) * stride
        for number, sides in enumerate(YOLOV3[scale]):
            anchor = cxcywh_to_xyxy(np.array([*middle, *sides], np.float64))
            taken = bool(positive[scale, number])
            panel.add_patch(
                _rectangle(
                    anchor, GREEN if taken else GRAY, line="-" if taken else "--", width=2.4 if taken else 1.2
                )
            )
        panel.add_patch(_rectangle(car[0], ORANGE, width=2.4))
        best = ious[0].reshape(3, 3)[scale]
        panel.set_title(f"stride {stride}: IoU " + ", ".join(f"{each:.2f}" for each in best), fontsize=11)
    figure.supxlabel(
        "orange: the car · blue: the cell with its center · green: positive anchors · dashed: the others",
        fontsize=10,
    )
    return figure


def network() -> Any:
    """Draw backbone, neck and heads with the shapes of a real forward pass."""
    info = ModelInfo("yolov3", tuple(f"class {n}" for n in range(80)), YOLOV3, STRIDES, input_size=(416, 416))
    model = build(info).eval()
    with torch.inference_mode():
        image = torch.zeros(1, 3, 416, 416)
        routes = [_shape(each) for each in model.backbone(image)]
        maps = [_shape(each) for each in model(image)]
    figure, panel = plt.subplots(figsize=(11, 5.2), layout="constrained")
    panel.set(xlim=(0, 110), ylim=(0, 52))
    panel.axis("off")
    _block(panel, 1, 40, 14, 8, "image\n(3, 416, 416)", GRAY)
    for x, name, shape in zip((25, 52, 79), ("route_1", "route_2", "conv"), routes, strict=True):
        _block(panel, x, 40, 20, 8, f"{name}  {shape}", BLUE)
    panel.text(62, 50, "Darknet-53", ha="center", fontsize=12, color=BLUE)
    for start, end in ((15, 25), (45, 52), (72, 79)):
        _arrow(panel, (start, 44), (end, 44))
    for x, shape, stride in zip((25, 52, 79), maps, STRIDES, strict=True):
        _block(panel, x, 24, 20, 9, "5 convolutions\n1x1, 3x3, 1x1, 3x3, 1x1", GREEN)
        _block(panel, x, 8, 20, 9, f"3x3, head 1x1\nraw map  {shape}", ORANGE)
        panel.text(x + 10, 4.5, f"stride {stride}", ha="center", fontsize=10, color=INK)
        _arrow(panel, (x + 10, 40), (x + 10, 33))
        _arrow(panel, (x + 10, 24), (x + 10, 17))
    for start, end in ((79, 72), (52, 45)):
        _arrow(panel, (start, 28.5), (end, 28.5))
        panel.text(
            (start + end) / 2, 35.2, "1x1, twice\nthe size,\njoined", ha="center", va="center", fontsize=8.5
        )
    return figure


def training() -> Any:
    """Draw the four parts of training, and how a training step passes through them."""
    figure, panel = plt.subplots(figsize=(11, 3.6), layout="constrained")
    panel.set(xlim=(0, 110), ylim=(0, 36))
    panel.axis("off")
    _block(panel, 1, 20, 15, 11, "batch\nimages, boxes", GRAY)
    _block(panel, 25, 20, 22, 11, "1  architecture\nYOLOv3: raw maps", BLUE)
    _block(panel, 57, 20, 22, 11, "2  loss\nbox + objectness + class", ORANGE)
    _block(panel, 87, 20, 22, 11, "3  optimizer\nAdam, learning rate", GREEN)
    _block(panel, 25, 2, 84, 8, "4  step: forward, loss, backward, update; next batch", INK)
    for start, end in ((16, 25), (47, 57), (79, 87)):
        _arrow(panel, (start, 25.5), (end, 25.5))
    panel.text(83, 27, "gradients", ha="center", fontsize=8.5)
    _arrow(panel, (98, 20), (98, 10))
    _arrow(panel, (36, 10), (36, 20))
    panel.text(38, 15, "new weights", fontsize=9, va="center")
    return figure


FIGURES = {each.__name__: each for each in (boxes, augmentation, assignment, network, training)}


def _rectangle(
    corners: Any, color: str = "none", fill: str = "none", line: str = "-", width: float = 2.0
) -> Rectangle:
    left, top, right, bottom = (float(each) for each in corners)
    face = (*mpl.colors.to_rgb(fill), 0.28) if fill != "none" else "none"
    edge = color if color != "none" else (fill if line == "--" else "none")
    return Rectangle(
        (left, top),
        right - left,
        bottom - top,
        facecolor=face,
        edgecolor=edge,
        linestyle=line,
        linewidth=width,
    )


def _block(panel: Any, x: float, y: float, width: float, height: float, text: str, color: str) -> None:
    panel.add_patch(
        FancyBboxPatch(
            (x, y),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=1.2",
            facecolor=(*mpl.colors.to_rgb(color), 0.12),
            edgecolor=color,
            linewidth=1.6,
        )
    )
    panel.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=10)


def _arrow(panel: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    panel.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=13, color=INK, linewidth=1.2, shrinkA=0, shrinkB=0
        )
    )


def _shape(tensor: torch.Tensor) -> str:
    return "(" + ", ".join(str(side) for side in tensor.shape[1:]) + ")"


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs" / "images")
