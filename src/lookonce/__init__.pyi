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
    """Measure a model on annotated images: COCO's metrics, curves, counts and errors.

    Args:
        model: Model: coco (built in), or a .safetensors, .onnx, OpenVINO .xml, ncnn .param or .cfg.
        data: Annotations in any format: folder, file or .zip.
        split: Images to measure on: a split, held-out or all.
        out: Folder for the report.
        names: File of class names, for annotations that have only numbers.
        images: Folder of the images, if they are elsewhere.
        json_to: File for the result as JSON; - for standard output.
        size: Network input: 416, or 320x416 (height x width).
        conf: Minimum score; keep it low for AP.
        iou: IoU threshold of NMS.
        fit: Fit of images to the input: letterbox or stretch.
        rect: No letterbox padding: faster on wide or tall images.
        reduce_jpeg: Decode large JPEGs at a half to an eighth of their size: faster, less accurate.
        tiles: Tiles to process as well, for small objects: 2x3 (rows x columns), or 640 (pixels).
        overlap: Overlap of neighboring tiles, as a share of their side.
        soft_nms: Soft-NMS instead of --iou.
        multi_label: Detect every class of a box above --conf, not only the best.
        weights: Weights of a .cfg.
        precision: auto (the plan of tune, else float32), float32, bfloat16 or int8.
        device: auto (CUDA, else the CPU), cpu, cuda, cuda:1, mps (Apple), or gpu or npu (Intel, OpenVINO).
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
    """Export a model for another program, and check that it gives the same results.

    Args:
        model: coco, .safetensors, .cfg or .onnx.
        to: Format to write.
        out: Folder, or name of the file.
        size: Network input: 416, or 320x416 (height x width).
        fit: Fit of images to the input: letterbox or stretch.
        static: Fix batch size 1 and the input size; by default both are variable.
        layout: Input: nhwc for uint8 images, or nchw for float32 planes of fixed size, as OpenCV needs.
        nms: Include NMS in the graph.
        conf: With --nms: score threshold, such as 0.3 or, by class, dog=0.4,cat=0.2.
        iou: With --nms: IoU threshold of NMS.
        verify_on: Images for the comparison.
        precision: float32, or int8: quantized, and rejected if AP drops.
        int8: Short for --precision int8.
        calibrate: With --int8: images to calibrate on: DATA, DATA/split, or a folder.
        gate_on: With --int8: DATA or DATA/split to measure AP on.
        max_drop: With --int8: largest drop in AP.
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
        model: Network: yolov3, yolov3-spp, yolov3-tiny, yolov3-tiny-3l, or a .cfg.
        size: Network input: 416, or 320x416 (height x width).
        epochs: Passes over the training images.
        minutes: Length of the run in minutes, instead of --epochs.
        patience: End after N epochs without a better AP.
        batch: Batch size, or "auto".
        weights: Weights to start from: coco, a .safetensors, a .cfg with its .weights, or darknet53.conv.74.
        within: Time limit per image on this machine, such as 5ms; trains the most accurate network within it.
        keep_classes: Keep the classes of --weights and add those of DATA.
        names: File of class names, for annotations that have only numbers.
        images: Folder of the images, if they are elsewhere.
        recipe: YAML file of settings, or name of a recipe.
        assignments: Any setting, such as optimizer.rate=0.0005; see docs/train.md.
        resume: Resume the run in --out.
        extend: Epochs to add to a finished run.
        group_by: Images held out together: folder, or a regular expression on the path.
        folds: Number of cross-validation runs, each with different images held out.
        device: auto (CUDA, else the CPU), cpu, cuda, cuda:1, or mps (Apple).
        strict: Stop at the first bad row or image.
        self_test: Only overfit 8 images, to test data and settings.

    Example: lookonce train my-images/ --size 320 --epochs 60 --out runs/mine
    """
