"""Settings of a training run, typed and checked on creation; `recipe` reads them from YAML.

The docstring of each field gives its unit and the source of its default. The tables in docs/train.md are
generated from these docstrings.
"""

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from lookonce.geometry.anchors import Anchors
from lookonce.geometry.sizes import size_advice, to_multiple
from lookonce.metadata import BN_EPSILON, LARGEST_SIDE, MOST_PIXELS
from lookonce.networks import MODELS, NETWORKS, is_network

MOST_EPOCHS, MOST_WORKERS = 1_000_000, 1024  # larger numbers are typing errors


def parse_size(value: Any) -> tuple[int, int]:
    """Parse `416`, `"416"`, `"320x416"` or (320, 416) into (height, width).

    Raises:
        ValueError: it is not a size, a side is not a multiple of 32, or the size is too large. pydantic
            and the command line add the name of the setting.
    """
    try:
        sides = [
            int(str(side))
            for side in (str(value).lower().split("x") if isinstance(value, int | str) else value)
        ]
    except (TypeError, ValueError):
        sides = []
    if len(sides) == 1:
        sides *= 2
    if len(sides) == 2 and (max(sides) > LARGEST_SIDE or sides[0] * sides[1] > MOST_PIXELS):
        raise ValueError(
            f"expected sides of at most {LARGEST_SIDE} and {MOST_PIXELS:,} pixels, found {value!r}"
        )
    if len(sides) != 2 or any(side < 32 or side % 32 for side in sides):
        advice = size_advice(sides, 32) if len(sides) == 2 else ""
        raise ValueError(
            f"expected a size like 416 or 320x416 (height x width), multiples of 32, found {value!r}{advice}"
        )
    return sides[0], sides[1]


def _check_range(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] >= value[1]:
        raise ValueError(f"expected the lower value first, found {value[0]:g} and {value[1]:g}")
    return value


def _parse_model(value: Any) -> str:
    """Validate the name of a network, or the path of a `.cfg` file."""
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str) or not is_network(value):
        raise ValueError(f"expected {MODELS}, found {value!r}")
    return value


def _parse_batch(value: Any) -> int | str:
    """Validate a number of images, at least 1, or `auto`."""
    if value == "auto":
        return "auto"
    if isinstance(value, bool | float) or not str(value).isdecimal() or int(value) < 1:
        raise ValueError(f"expected a number of images from 1, or auto, found {value!r}")
    return int(value)


def _parse_freeze(value: Any) -> Any:
    """Validate `nothing`, `backbone`, a number of layers, at least 1, or a layer's name."""
    number = isinstance(value, int) and not isinstance(value, bool) and value >= 1
    if not (number or (isinstance(value, str) and value)):
        raise ValueError(
            f"expected nothing, backbone, a number of layers from 1, or a layer's name, found {value!r}"
        )
    return value


def _parse_anchors(value: Any) -> Any:
    """Validate `official`, `data`, or a list of (width, height) per scale, all sides above 0."""
    if value in ("official", "data"):
        return value
    try:
        scales = tuple(tuple((float(width), float(height)) for width, height in scale) for scale in value)
    except (TypeError, ValueError):
        scales = ()
    sides = [side for scale in scales for pair in scale for side in pair]
    if not scales or not all(scales) or not all(0 < side < math.inf for side in sides):
        raise ValueError(f"expected official, data, or a list of [width, height] per scale, found {value!r}")
    return scales


Share = Annotated[float, Field(ge=0, le=1)]
Size = Annotated[tuple[int, int], BeforeValidator(parse_size)]
AnchorChoice = Annotated[Anchors | Literal["official", "data"], BeforeValidator(_parse_anchors)]
Range = Annotated[tuple[float, float], AfterValidator(_check_range)]
Difficult = Literal["train", "ignore"]
Model = Annotated[str, BeforeValidator(_parse_model)]
Batch = Annotated[int | Literal["auto"], BeforeValidator(_parse_batch)]
Freeze = Annotated[int | str, BeforeValidator(_parse_freeze)]


class SettingsSection(BaseModel):
    """Base class of settings: frozen, without unknown names, and with field docstrings as descriptions."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class AugmentSettings(SettingsSection):
    """Random changes to training images; the defaults are the write-up's."""

    flip: Share = 0.5
    """Probability of mirroring left to right. Write-up: 0.5."""
    orientation: Literal["upright", "free"] = "upright"
    """`free` rotates images by random multiples of 90 degrees, and swaps height and width of the input in
    half of the batches. It is for images without a natural orientation, such as cells, aerial images or parts
    on a conveyor belt. With `flip`, they are also mirrored in both directions."""
    crop: Share = 0.5
    """Probability of cropping the image without cutting a box. Write-up: 0.5."""
    translate: Share = 0.5
    """Probability of a shift that keeps all boxes inside the image. Write-up: 0.5."""
    hue: float = Field(0.0, ge=0, le=0.5)
    """Largest change of the hue in either direction, as a share of the color circle. Darknet's yolov3.cfg:
    0.1."""
    saturation: float = Field(1.0, ge=1)
    """Largest factor by which the saturation is multiplied or divided. Darknet's yolov3.cfg: 1.5."""
    exposure: float = Field(1.0, ge=1)
    """Largest factor by which the brightness, also of the padding, is multiplied or divided. Darknet's
    yolov3.cfg: 1.5."""
    zoom: tuple[float, float] = (1.0, 1.0)
    """Smallest and largest factor of random scaling. Above 1, a part of the image fills the input, like
    a tile."""
    mosaic: Share = 0.0
    """Probability of combining four images around a random point (Bochkovskiy et al. 2020)."""
    mixup: Share = 0.0
    """Probability of blending two images (Zhang et al. 2018)."""
    multi_scale: Share = 0.0
    """Largest random change of the input size per batch, as a share of the size, in steps of 32 pixels."""
    rectangles: bool = False
    """Whether each batch has images of similar shape, and an input of that shape, which saves the time for
    padding."""

    @classmethod
    def off(cls) -> Self:
        """Return settings that change no image, for `augment: false`."""
        return cls(flip=0, crop=0, translate=0)

    @model_validator(mode="after")
    def _zoom_is_a_range(self) -> Self:
        least, largest = self.zoom
        if not 0.1 <= least <= largest <= 10:
            raise ValueError(f"zoom: expected 0.1 <= least <= largest <= 10, found {self.zoom}")
        return self


class AssignSettings(SettingsSection):
    """Rule that assigns anchors to objects; the defaults are the write-up's."""

    rule: Literal["iou", "best", "ratio"] = "iou"
    """`iou` assigns every anchor that overlaps the box enough when centered on its cell, else the best one.
    `best` assigns only the anchor with the most similar shape (paper). `ratio` assigns every anchor whose
    sides are similar enough to those of the box, else the best one."""
    positive_iou: Share = 0.3
    """IoU above which the rule `iou` assigns an anchor. Write-up: 0.3."""
    largest_ratio: float = Field(4.0, gt=1)
    """Ratio of corresponding sides of box and anchor, larger to smaller, below which the rule `ratio` assigns
    an anchor."""


class OptimizerSettings(SettingsSection):
    """Optimizer and learning rate schedule; the defaults are the write-up's."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    """Optimizer. `adamw` applies weight decay directly to the weights; `adam` and `sgd` add it to the
    gradient."""
    rate: float = Field(1e-3, gt=0)
    """Learning rate after warm-up. Write-up: 1e-3 with Adam."""
    end_rate: float = Field(1e-6, ge=0)
    """Learning rate of the last step, at the end of a cosine decay. Write-up: 1e-6."""
    warmup_epochs: float = Field(2, ge=0)
    """Epochs in which the learning rate rises linearly from 0. Write-up: 2."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum of SGD, and first beta of Adam. Write-up: 0.9."""
    weight_decay: float = Field(0.0, ge=0)
    """Weight decay of convolution kernels. The write-up declares 5e-4 but never applies it (reference fault
    8)."""
    clip: float = Field(0.0, ge=0)
    """Largest norm of the whole gradient (gradient clipping); 0 for no limit."""
    accumulate: int = Field(1, ge=1)
    """Batches whose gradients are averaged into one step."""


class BatchNormSettings(SettingsSection):
    """Settings of batch normalization; the defaults are those of the default recipe."""

    momentum: float = Field(0.03, gt=0, le=1)
    """Weight of a batch in the running statistics. Reference: 0.01 (0.99 in the convention of Keras)."""
    average_first: bool = True
    """Whether the running statistics are the plain average of all batches, until a batch would have less
    weight than `momentum`. Otherwise, as in the reference, the initial values affect them for hundreds of
    steps."""
    epsilon: float = Field(BN_EPSILON, gt=0)
    """Number added to the variance under the root; stored in the model. Reference: 1e-3; OpenCV, for Darknet
    files: 1e-6."""


class LossSettings(SettingsSection):
    """Weights and thresholds of the three losses; the defaults are the write-up's."""

    ignore_iou: Share = 0.5
    """IoU with an annotated box at or above which a background prediction has no objectness loss. Write-up
    and paper: 0.5; yolov3.cfg: 0.7."""
    label_smoothing: Share = 0.01
    """Share of the class target that is spread evenly over all classes. Write-up: 0.01."""
    box: Literal["giou", "diou", "ciou"] = "giou"
    """Measure of the box loss. Write-up: GIoU."""
    objectness: Literal["one", "iou"] = "one"
    """Objectness target of a positive: 1 (write-up), or the IoU of its predicted box with the object."""
    giou: float = Field(1.0, ge=0)
    """Weight of the box loss, whatever its measure."""
    conf: float = Field(1.0, ge=0)
    """Weight of the objectness loss."""
    prob: float = Field(1.0, ge=0)
    """Weight of the class loss."""
    non_finite: Literal["stop", "skip"] = "stop"
    """Effect of an infinite or NaN loss: `stop` ends the run, and `skip` skips the batch and counts it."""


class Objective(SettingsSection):
    """Settings of targets and losses; the defaults are the write-up's.

    Every trained model stores them, so that `explain` can show the losses that it was trained with.
    """

    assign: AssignSettings = AssignSettings()
    loss: LossSettings = LossSettings()
    difficult: Difficult = "train"
    """Use of VOC's difficult objects: `train` on them, or `ignore` them; see `TrainSettings`."""

    def differences(self) -> tuple[str, ...]:
        """Return the settings that differ from the write-up's, such as `loss.objectness=iou`."""
        own, write_up = flat(self), flat(Objective())
        return tuple(f"{name}={value}" for name, value in own.items() if value != write_up[name])


class TrainSettings(SettingsSection):
    """All settings that determine the result of a training run; saved in its folder.

    The defaults are the default recipe, which `recipes/default.yaml` writes out. `recipes/classic.yaml` is
    the write-up's recipe, and `benchmarks/recipes.md` has the measurements.
    """

    model: Model = "yolov3-tiny"
    """Network: yolov3, yolov3-spp, yolov3-tiny, yolov3-tiny-3l, or a `.cfg` file. Write-up: yolov3."""
    width: float = Field(1.0, gt=0, le=2)
    """Factor for the numbers of channels of a named network; 0.5 needs about a quarter of the arithmetic."""
    size: Size = (416, 416)
    """(height, width) of the network input. Write-up: 416."""
    anchors: AnchorChoice = "official"
    """`official` for the published anchors, `data` for k-means anchors, computed for each scale from the
    training boxes that suit it, or a list of [width, height] in input pixels for each scale, finest first."""
    epochs: int = Field(30, ge=1, le=MOST_EPOCHS)
    """Passes over the training images. Write-up: 30."""
    minutes: float = Field(0, ge=0)
    """Length of the run in minutes, including evaluations, instead of `epochs`. The run takes as many steps
    as fit, and the learning rate schedule is scaled to them. 0 to use `epochs`."""
    patience: int = Field(0, ge=0)
    """Epochs without a better AP after which the run ends, once AP has reached 0.01; 0 for no limit."""
    batch: Batch = 4
    """Images per batch, or `auto` for as many as fit into memory. Small batches give a CPU more steps in the
    same time; a GPU needs large ones. Write-up: 16."""
    values: Range | None = None
    """Pixel values that become 0 and 255 in images of more than 8 bits; by default, the range in use in the
    training images. They are stored in the model."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of the initial weights, the order of the images and the augmentation."""
    workers: int = Field(2, ge=0, le=MOST_WORKERS)
    """Number of threads per process that read and augment images; 0 to do this between the steps."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of the network in training; losses and weights stay float32. `auto` is bfloat16 if the device
    supports it natively, else float16 with scaled gradients on a CUDA GPU, else float32. On CPUs, depthwise
    convolutions with a stride or a kernel above 3x3 always compute in float32, which is faster there."""
    freeze: Freeze = "nothing"
    """Layers whose weights and statistics do not change, for training that starts from another model:
    `backbone`, a number of layers counted from the first as in a `.cfg`, or the name of a layer."""
    objectness_prior: float = Field(0.01, gt=0, lt=1)
    """Objectness of every cell before the first step (Lin et al. 2017: 0.01). Reference: 0.5."""
    ema: float = Field(0.998, ge=0, lt=1)
    """Decay of the running average of the weights, which is evaluated and saved instead of the weights; 0 for
    no average."""
    repeat_rare: Share = 0.0
    """Share of the images below which a class is rare, so that its images are repeated (repeat-factor
    sampling, Gupta et al. 2019); 0 to use every image once per epoch."""
    difficult: Difficult = "train"
    """Use of VOC's difficult objects: `train` on them, or `ignore` them, which turns their boxes into
    ignored areas. Evaluation always ignores them."""
    holdout: float = Field(0.1, ge=0, lt=1)
    """Share of the training images held out for validation if the data has no validation split."""
    group: Annotated[str, AfterValidator(lambda value: group_pattern(value))] = ""
    """Groups of images that the held-out split must not separate: `folder`, or a regular expression, such as
    `patient(\\d+)`, which groups images by the matching text in their paths. Near-duplicates and neighboring
    frames are never separated."""
    log_every: int = Field(10, ge=1)
    """Steps between two log lines. Write-up: 1."""
    evaluate_every: int = Field(1, ge=1)
    """Epochs between two evaluations; the last epoch is always evaluated."""
    checkpoint_minutes: float = Field(10, gt=0)
    """Minutes between two checkpoints within an epoch; every epoch also ends with a checkpoint."""
    keep_epochs: bool = False
    """Whether to keep a model file for each epoch. Write-up: true."""
    sync_bn: bool = False
    """Whether to normalize over the images of all processes. Otherwise, each process normalizes over its own
    images, and the running statistics of rank 0 are kept."""
    optimizer: OptimizerSettings = OptimizerSettings()
    batch_norm: BatchNormSettings = BatchNormSettings()
    assign: AssignSettings = AssignSettings()
    loss: LossSettings = LossSettings(objectness="iou")
    augment: Annotated[
        AugmentSettings, BeforeValidator(lambda value: AugmentSettings.off() if value is False else value)
    ] = AugmentSettings(translate=0, zoom=(0.6, 1.6), mosaic=1, rectangles=True)

    @model_validator(mode="after")
    def _settings_agree(self) -> Self:
        """Check conditions that depend on two settings."""
        height, width = (to_multiple(side * (1 - self.augment.multi_scale)) for side in self.size)
        if max(height, width) < 64:  # one cell of one image cannot be normalized
            raise ValueError(
                f"size, augment.multi_scale: expected inputs of 64 or more, found {height}x{width}"
            )
        if self.optimizer.end_rate > self.optimizer.rate:
            raise ValueError(
                f"optimizer.end_rate: expected at most optimizer.rate, {self.optimizer.rate:g}, "
                f"found {self.optimizer.end_rate:g}"
            )
        if self.model not in NETWORKS:
            if self.width != 1:
                raise ValueError(f"width: expected 1, since a .cfg fixes its channels, found {self.width:g}")
            return self
        scales = len(NETWORKS[self.model].strides)
        if not isinstance(self.anchors, str) and (
            len(self.anchors) != scales or len({len(scale) for scale in self.anchors}) > 1
        ):
            raise ValueError(
                f"anchors: expected {scales} lists with the same number of [width, height] for {self.model}, "
                f"found {' and '.join(str(len(scale)) for scale in self.anchors) or 'none'}"
            )
        return self

    @property
    def batch_size(self) -> int:
        """Return the batch size in images; a run replaces `auto` by a number before it starts."""
        assert self.batch != "auto"
        return self.batch


def group_pattern(text: str) -> str:
    """Return the text if it is a value for `group`: `folder` or a regular expression.

    Raises:
        ValueError: it is not a regular expression.
    """
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"expected folder or a regular expression, found {text!r}: {error}") from error
    return text


def flat(settings: BaseModel) -> dict[str, Any]:
    """Return settings as one dict: `section.name` -> value in JSON types."""
    values: dict[str, Any] = {}
    for name, value in settings.model_dump(mode="json").items():
        if isinstance(value, dict):
            values |= {f"{name}.{leaf}": each for leaf, each in value.items()}
        else:
            values[name] = value
    return values
