"""Types of `import lookonce`. Made by `python scripts/api_types.py`."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Literal

from lookonce.commands.results import Evaluated, Exported, Trained
from lookonce.detections import Detections as Detections
from lookonce.draw.boxes import annotate as annotate
from lookonce.errors import LookonceError as LookonceError
from lookonce.explain.explainer import Explainer as Explainer
from lookonce.images import read_image as read_image
from lookonce.images import write_image as write_image
from lookonce.metadata import ModelInfo as ModelInfo
from lookonce.runtime.detector import Detector as Detector
from lookonce.runtime.sources import Frame as Frame
from lookonce.runtime.sources import Sources as Sources

__version__: str
__all__ = [
    "Detections",
    "Detector",
    "Explainer",
    "Frame",
    "LookonceError",
    "ModelInfo",
    "Sources",
    "annotate",
    "evaluate",
    "export",
    "read_image",
    "train",
    "write_image",
]

def evaluate(
    model: str | PathLike[str],
    data: str | PathLike[str],
    split: str | None = None,
    out: str | PathLike[str] = "runs/evaluate",
    names: str | PathLike[str] | None = None,
    images: str | PathLike[str] | None = None,
    json_to: str | PathLike[str] | None = None,
    size: int | tuple[int, int] | str | None = None,
    conf: float = 0.001,
    iou: float = 0.45,
    fit: str | None = None,
    rect: bool = False,
    reduce_jpeg: bool = False,
    tiles: int | tuple[int, int] | str | None = None,
    overlap: float = 0.2,
    soft_nms: bool = False,
    multi_label: bool = False,
    weights: str | PathLike[str] | None = None,
    precision: str = "auto",
    device: str = "auto",
    group: str = "",
    strict: bool = False,
    set_thresholds: bool = False,
    explain: int = 6,
    force: bool = False,
) -> Evaluated:
    """Measure how good a model is and what goes wrong: COCO's numbers, curves, errors.

    Args:
        model: coco (built in), or a file: .safetensors, .onnx, OpenVINO .xml, ncnn .param, .cfg.
        data: Annotations in any format: folder, file or .zip.
        split: Part to measure on: a split, held-out or all.
        out: Folder for the report.
        names: File of class names, for annotations that have only numbers.
        images: Folder of the images, if they lie elsewhere.
        json_to: File for the result as JSON; - for standard output.
        size: Network input: 416, or 320x416 (height x width).
        conf: Minimum score; keep it low for AP.
        iou: IoU threshold of NMS.
        fit: letterbox or stretch.
        rect: No letterbox padding: faster on wide or tall images.
        reduce_jpeg: Decode large JPEGs at a half, a quarter or an eighth: faster, less exact.
        tiles: Detect in tiles too, for small objects: 2x3 (rows x columns), or 640 (pixels).
        overlap: Share of a tile's side that the next one covers too.
        soft_nms: Soft-NMS instead of --iou.
        multi_label: Count every class of a box that is above --conf.
        weights: Weights of a .cfg.
        precision: auto (as `lookonce tune` chose, else float32), float32, bfloat16 or int8.
        device: auto (CUDA, else the CPU), cpu, cuda, mps, OpenVINO's gpu or npu; cuda:1 of several.
        group: Images that belong together: folder, or a regular expression on the path.
        strict: Stop at the first bad row or image.
        set_thresholds: Store the best score thresholds in the model file.
        explain: Number of the worst images to explain.
        force: Replace files that this command did not write.

    Example: lookonce evaluate runs/mine/best.safetensors my-images/ --split test --out runs/test
    """

def export(
    model: str | PathLike[str],
    to: Literal["onnx", "openvino", "ncnn", "darknet"],
    out: str | PathLike[str] = "exported",
    size: int | tuple[int, int] | str | None = None,
    fit: str | None = None,
    static: bool = False,
    layout: Literal["nhwc", "nchw"] = "nhwc",
    nms: bool = False,
    conf: float | Mapping[str, float] | str | None = None,
    iou: float | None = None,
    verify_on: str | PathLike[str] | None = None,
    precision: str = "float32",
    int8: bool = False,
    calibrate: str | PathLike[str] | None = None,
    gate_on: str | PathLike[str] | None = None,
    max_drop: float | None = None,
    no_gate: bool = False,
    names: str | PathLike[str] | None = None,
    weights: str | PathLike[str] | None = None,
    force: bool = False,
) -> Exported:
    """Write a model for another program, and prove that both compute the same.

    Args:
        model: coco, .safetensors, .cfg or .onnx.
        to: Form to write.
        out: Folder, or the file's name.
        size: Network input: 416, or 320x416 (height x width).
        fit: letterbox or stretch.
        static: Fixed batch 1 and size; by default both are open.
        layout: nhwc: uint8 images in; nchw: float32 planes in, batch 1 and size fixed, for OpenCV.
        nms: Include NMS in the graph.
        conf: With --nms: score threshold: 0.3, or by class: dog=0.4,cat=0.2.
        iou: With --nms: IoU threshold of NMS.
        verify_on: Images for the comparison.
        precision: float32, or int8: quantized, and rejected if AP drops.
        int8: Short for --precision int8.
        calibrate: With --int8: DATA, DATA/split, or a folder of images.
        gate_on: With --int8: DATA or DATA/split to compare AP on.
        max_drop: With --int8: largest AP drop.
        no_gate: With --int8: skip the comparison of AP.
        names: File of class names, for annotations that have only numbers.
        weights: Weights of a .cfg.
        force: Replace files that this command did not write.

    Example: lookonce export runs/mine/best.safetensors --to onnx --out mine.onnx
    """

def train(
    data: str | PathLike[str],
    out: str | PathLike[str] = "runs/train",
    model: str | PathLike[str] | None = None,
    size: int | tuple[int, int] | str | None = None,
    epochs: int | None = None,
    minutes: float | None = None,
    patience: int | None = None,
    batch: int | str | None = None,
    weights: str | PathLike[str] | None = None,
    within: str | None = None,
    keep_classes: bool = False,
    names: str | PathLike[str] | None = None,
    images: str | PathLike[str] | None = None,
    recipe: str | PathLike[str] | None = None,
    assignments: Mapping[str, object] | Sequence[str] | None = None,
    resume: bool = False,
    extend: int | None = None,
    group_by: str = "",
    folds: int | None = None,
    device: str = "auto",
    strict: bool = False,
    self_test: bool = False,
) -> Trained:
    """Train a detector on annotated images.

    Args:
        data: Annotations in any format: folder, file or .zip.
        out: Run folder.
        model: yolov3, yolov3-spp, yolov3-tiny, yolov3-tiny-3l, or a .cfg; else that of --weights.
        size: Network input: 416, or 320x416 (height x width); else that of the .cfg.
        epochs: Passes over the training images.
        minutes: Length of the run in minutes, instead of --epochs.
        patience: End after N epochs without a better AP.
        batch: Batch size, or "auto".
        weights: Weights to start from: coco, .safetensors, .cfg beside .weights, darknet53.conv.74.
        within: Choose network and size: the most accurate that needs at most TIME per image here (5ms).
        keep_classes: Add classes to the model of --weights, which teaches its own on DATA.
        names: File of class names, for annotations that have only numbers.
        images: Folder of the images, if they lie elsewhere.
        recipe: YAML file of settings, or the name of a recipe.
        assignments: Any setting, such as optimizer.rate=0.0005; see docs/train.md.
        resume: Resume the run in --out.
        extend: Train a finished run for N more epochs.
        group_by: Images held out together: folder, or a regular expression on the path.
        folds: Cross-validate: N runs, each image held out once.
        device: auto (CUDA, else the CPU), cpu, cuda, or mps (Apple); cuda:1 of several.
        strict: Stop at the first bad row or image.
        self_test: Overfit 8 images only, to test data and settings.

    Example: lookonce train my-images/ --size 320 --epochs 60 --out runs/mine
    """
