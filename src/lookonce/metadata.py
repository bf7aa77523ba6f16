"""The description in every model file, with everything needed to run the model."""

import json
import math
import reprlib
from dataclasses import asdict, dataclass, field, fields
from string import ascii_letters, digits
from typing import (
    Any,
    Final,
    NotRequired,
    Self,
    TypedDict,
    get_args,
)

from lookonce._checks import items, need, number, typed, whole, word
from lookonce.errors import ModelFileError
from lookonce.geometry.letterbox import Fit

FORMAT_VERSION = 1
OBJECTIVE: Final = "objective"  # key of `Training`
METADATA_KEY = "lookonce"  # name of the JSON entry in a safetensors header and in ONNX metadata
# Suffix of the weights beside a graph; that of ncnn differs from OpenVINO's, so that a folder can have both.
WEIGHTS_BESIDE = {".xml": ".bin", ".param": ".ncnn.bin"}
PARAM_DESCRIPTION = (
    "# lookonce "  # start of the last line of a `.param`, which is the description; ncnn does not read it
)

# Limits for descriptions, above those of any real model; they are checked before a network is built.
LONGEST_DESCRIPTION = 1 << 24  # characters
LONGEST_CFG = 1 << 20  # characters; the official files have 8,000
MOST_CLASSES, LONGEST_NAME = 10_000, 500
MOST_SCALES, MOST_ANCHORS = 16, 64  # anchors per scale
LARGEST_SIDE, MOST_PIXELS = 8192, 1 << 23  # of the network input; more would take all memory
LARGEST_ANCHOR, LARGEST_STRIDE, LARGEST_WIDTH = 1 << 16, 1024, 64

# Residual blocks and channels of Darknet-53's stages (paper, table 1).
DARKNET53_STAGES = ((1, 64), (2, 128), (8, 256), (8, 512), (4, 1024))
LEAKY_SLOPE = 0.1  # slope of Darknet's activation "leaky" below 0
DARKNET: Final = "darknet"  # architecture of every network without a class in `model`

# Number added to the variance under the root, in new models and for Darknet files. Darknet itself uses
# sqrt(var) + 1e-6 (original on a CPU) or sqrt(var + 1e-5) (original on a GPU, AlexeyAB's fork); OpenCV's
# importer uses sqrt(var + 1e-6). OpenCV's value is used here, because the tests can compare with OpenCV. With
# the same value for new models, a model written as Darknet files and read back is identical, bit by bit.
BN_EPSILON = 1e-6


class TrainedOn(TypedDict):
    """The data of a training run.

    Attributes:
        images: number of training images.
        boxes: number of boxes in the training images.
        validation: number of validation images.
        digest: SHA-256 of file names, boxes and classes, in order.
    """

    images: int
    boxes: int
    validation: int
    digest: str


class SeenRecord(TypedDict):
    """The images of a training run; see `seen.Seen`.

    Attributes:
        learned: fingerprints of the images trained on, 8 base64 characters per image.
        held_out: fingerprints of the validation images, 8 base64 characters per image.
    """

    learned: str
    held_out: str


class RunProgress(TypedDict):
    """The progress of a run; see `train.checkpoint.Progress`.

    Attributes:
        epochs: finished epochs.
        best_ap: highest validation AP so far; -1 before the first evaluation that gave a number.
        best_epoch: epoch of the best AP, counted from 1; 0 if there is none.
        seconds: seconds of training and evaluation in finished epochs.
    """

    epochs: int
    best_ap: float
    best_epoch: int
    seconds: float


class ClockState(TypedDict):
    """The state of the clock of a run with `minutes`; see `train.clock.Clock`.

    Attributes:
        used: seconds of the run so far.
        pace: seconds per step; 0 if not measured yet.
        closing: expected seconds of the last evaluation and its checkpoints; 0 if unknown.
        closed: planned seconds of the run if it has ended; 0 while it runs.
    """

    used: float
    pace: float
    closing: float
    closed: float


class RunState(TypedDict):
    """The state of a run within an epoch, except for tensors; see `train.loop.Epoch`.

    Attributes:
        number: number of the epoch, from 0.
        steps: number of completed steps in the epoch.
        seconds: time of training in the epoch.
        waited: time of waiting for images, in seconds.
        skipped: number of batches skipped because their loss was not finite.
        batches: number of batches of the run in the running statistics of batch normalization.
        images: number of images with losses in `sums`.
        sums: sums of the loss terms, by name.
        scaler: state of the gradient scaler of float16; empty for other precisions.
        clock: clock of a run with `minutes`.
    """

    number: int
    steps: int
    seconds: float
    waited: float
    skipped: int
    batches: int
    images: int
    sums: dict[str, float]
    scaler: dict[str, float]
    clock: NotRequired[ClockState]


class Training(TypedDict, total=False):
    """The training record of a model, with the keys that apply.

    Attributes:
        objective: settings of assignment and loss, dumped from `config.Objective`.
        data: training data.
        seen: fingerprints of the images that the model was trained and validated on.
        epoch: number of epochs trained.
        metrics: metrics on the validation images, by name.
        progress: progress of an unfinished run.
        running: state of an unfinished run within its epoch.
        error: error that ended the run.
        int8: tool and settings of the quantization.
    """

    objective: dict[str, dict[str, float | str] | str]
    data: TrainedOn
    seen: SeenRecord
    epoch: int
    metrics: dict[str, float]
    progress: RunProgress
    running: RunState
    error: str
    int8: dict[str, int | str]


def scaled_channels(full: int, width: float) -> int:
    """Return a number of channels multiplied by a width factor and rounded to a multiple of 8, at least 8."""
    return max(8, round(full * width / 8) * 8)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """The description in every model file.

    Attributes:
        architecture: a name in `networks.NETWORKS`, or `darknet` for any other `.cfg`.
        names: class names.
        anchors: (width, height) of the anchors of each scale in input pixels, finest scale first.
        strides: side of a cell in input pixels on each scale, finest scale first.
        input_size: (height, width) that the model was made for; other multiples of `side_multiple` work too.
        width: factor for the numbers of channels.
        bn_epsilon: epsilon of the batch normalization; 1e-3 in the TensorFlow reference.
        fit: how images are fitted to the input size, `letterbox` or `stretch`.
        cfg: text of the `.cfg` if the architecture is `darknet`, else empty; checked by `darknet.described`.
        values: pixel values that become 0 and 255 in images of more than 8 bits; None if the model was
            trained on 8-bit images.
        training: training record.
        thresholds: score threshold of each class, chosen on validation images; empty if there are none.
    """

    architecture: str
    names: tuple[str, ...]
    anchors: tuple[tuple[tuple[float, float], ...], ...]
    strides: tuple[int, ...]
    input_size: tuple[int, int]
    width: float = 1.0
    bn_epsilon: float = BN_EPSILON
    fit: Fit = "letterbox"
    cfg: str = ""
    values: tuple[float, float] | None = None
    training: Training = field(default_factory=Training)
    thresholds: tuple[float, ...] = ()

    @property
    def side_multiple(self) -> int:
        """Return the number of which input sides must be multiples: 32, or more for larger strides."""
        return math.lcm(32, *self.strides)

    def to_json(self) -> str:
        """Return the description as one line of JSON; sorted keys make the text of equal models equal."""
        return json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, file: str) -> Self:
        """Parse a description from `to_json`; `file` is for error messages.

        Raises:
            ModelFileError: the text is not JSON, has another format version, or a field is missing, unknown,
                malformed or beyond the limits.
        """
        if len(text) > LONGEST_DESCRIPTION:
            raise ModelFileError(
                f"{file}: expected a model description of at most {LONGEST_DESCRIPTION:,} characters, found "
                f"{len(text):,}"
            )
        try:
            found = json.loads(text)
            need("an object", isinstance(found, dict), found)
            version = found.pop("format_version")
            if version != FORMAT_VERSION:
                raise ModelFileError(
                    f"{file}: expected model format version {FORMAT_VERSION}, found {reprlib.repr(version)}"
                )
            known = [each.name for each in fields(cls)]
            unknown = sorted(found.keys() - set(known))
            need("no unknown fields", not unknown, unknown)
            checked = {name: _checked(name, found[name]) for name in known if name in found}
            if "anchors" in checked and "strides" in checked:
                need("as many strides as scales", len(checked["anchors"]) == len(checked["strides"]),
                      checked["strides"])  # fmt: skip
            if checked.get("thresholds") and "names" in checked:
                need("as many thresholds as names", len(checked["names"]) == len(checked["thresholds"]),
                      checked["thresholds"])  # fmt: skip
            return cls(**checked)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise ModelFileError(f"{file}: the model description is damaged: {str(error)[:300]}") from error


def _checked(name: str, value: Any) -> Any:
    """Return a field of `ModelInfo`, converted from JSON to its type.

    Raises:
        ValueError: the field is malformed, or beyond the limits.
    """
    match name:
        case "architecture":
            return word(name, value, LONGEST_NAME)
        case "names":
            return tuple(word(name, each, LONGEST_NAME) for each in items(name, value, 1, MOST_CLASSES))
        case "anchors":
            scales = []
            for scale in items(name, value, 1, MOST_SCALES):
                pairs = [items("anchor", pair, 2, 2) for pair in items(name, scale, 1, MOST_ANCHORS)]
                sides = [[number("an anchor", side, LARGEST_ANCHOR) for side in pair] for pair in pairs]
                scales.append(tuple((width, height) for width, height in sides))
            return tuple(scales)
        case "strides":
            strides = [whole(name, each, LARGEST_STRIDE) for each in items(name, value, 1, MOST_SCALES)]
            need("strides from fine to coarse", strides == sorted(strides), strides)
            return tuple(strides)
        case "input_size":
            height, width = (whole(name, side, LARGEST_SIDE) for side in items(name, value, 2, 2))
            need(f"{name}: at most {MOST_PIXELS:,} pixels", height * width <= MOST_PIXELS, (height, width))
            return height, width
        case "width":
            return number(name, value, LARGEST_WIDTH)
        case "bn_epsilon":
            return number(name, value, 1)
        case "fit":
            need(f"{name}: one of {', '.join(get_args(Fit))}", value in get_args(Fit), value)
            return value
        case "cfg":
            return word(name, value, LONGEST_CFG)
        case "values":
            if value is None:
                return None
            low, high = items(name, value, 2, 2)
            numbers = type(low) in (int, float) and type(high) in (int, float)
            need(f"{name}: two finite numbers, the lower one first",
                 numbers and -1e38 < low < high < 1e38, value)  # fmt: skip
            return float(low), float(high)
        case "thresholds":
            for each in items(name, value, 0, MOST_CLASSES):
                need(f"{name}: numbers from 0 to 1", type(each) in (int, float) and 0 <= each <= 1, each)
            return tuple(map(float, value))
    training: Training = typed(name, value, Training)
    if "seen" in training:
        for part in (training["seen"]["learned"], training["seen"]["held_out"]):
            prints = len(part) % 8 == 0 and not part.strip(ascii_letters + digits + "+/")
            need("training.seen: fingerprints of 8 characters", prints, part)
    return training
