"""Settings: typed, checked when made, read from YAML and `--set a.b=c`.

Every field has its unit and, where it is somebody's number, its source.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from lookonce.errors import ConfigError

Share = Annotated[float, Field(ge=0, le=1)]
Size = Annotated[tuple[int, int], BeforeValidator(lambda value: parse_size(value))]
Batch = Annotated[int | Literal["auto"], BeforeValidator(lambda value: _parse_batch(value))]


def parse_size(value: Any) -> tuple[int, int]:
    """`416`, `"416"`, `"320x416"` or (320, 416) -> (height, width), multiples of 32.

    Raises:
        ValueError: anything else; pydantic and the command line name the setting.
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
    if len(sides) != 2 or any(side < 32 or side % 32 for side in sides):
        raise ValueError(
            f"expected a size like 416 or 320x416 (height x width), multiples of 32, found {value!r}"
        )
    return sides[0], sides[1]


def to_multiple(side: float) -> int:
    """The nearest side that every network's strides divide."""
    return max(32, 32 * round(side / 32))


def _parse_batch(value: Any) -> int | str:
    """A count from 1, or `auto`."""
    if value == "auto":
        return "auto"
    if isinstance(value, bool | float) or not str(value).isdecimal() or int(value) < 1:
        raise ValueError(f"expected a number of images from 1, or auto, found {value!r}")
    return int(value)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class AugmentSettings(_Section):
    """How an image is changed before it is learnt from; the defaults are the write-up's."""

    flip: Share = 0.5
    """Mirror left and right. Write-up: 0.5."""
    crop: Share = 0.5
    """Cut away any part that holds no box. Write-up: 0.5."""
    translate: Share = 0.5
    """Shift so that all boxes stay inside. Write-up: 0.5."""
    hue: float = Field(0.0, ge=0, le=0.5)
    """Largest turn of the colour circle, either way; 1 is all around. Darknet's yolov3.cfg: 0.1."""
    saturation: float = Field(1.0, ge=1)
    """Largest factor on the colours' strength, or divisor. Darknet's yolov3.cfg: 1.5."""
    exposure: float = Field(1.0, ge=1)
    """Largest factor on the brightness, or divisor. Darknet's yolov3.cfg: 1.5. Padding changes with it."""
    zoom: tuple[float, float] = (1.0, 1.0)
    """Least and largest enlargement. Above 1 a part of the image fills the input, as a tile does."""
    mosaic: Share = 0.0
    """Four images around one point, with this probability (Bochkovskiy et al. 2020)."""
    mixup: Share = 0.0
    """Two images on top of each other, with this probability (Zhang et al. 2018)."""
    multi_scale: Share = 0.0
    """Each batch at a side drawn from size * (1 - this) to size * (1 + this), in steps of 32."""
    rectangles: bool = False
    """Batches of images of a like shape, in an input of that shape: no time is spent on padding."""
    plain_epochs: int = Field(0, ge=0)
    """Last epochs of a run, all of a shorter one, without mosaic, mixup, varied scales and rectangles: it
    ends on whole inputs of the size that the network is used with. Zoom and the rest stay."""

    @model_validator(mode="after")
    def _zoom_is_a_range(self) -> Self:
        least, largest = self.zoom
        if not 0.1 <= least <= largest <= 10:
            raise ValueError(f"zoom: expected 0.1 <= least <= largest <= 10, found {self.zoom}")
        return self


class AssignSettings(_Section):
    """Which anchors learn to find an object; the defaults are the write-up's."""

    rule: Literal["iou", "best", "ratio"] = "iou"
    """`iou`: every anchor that, centred on the cell of the box, overlaps the box enough, else the best one.
    `best`: only the anchor of the nearest shape (paper). `ratio`: every anchor with sides near those of the
    box, else the best one."""
    positive_iou: Share = 0.3
    """The overlap that `iou` asks for, strictly above. Write-up: 0.3."""
    largest_ratio: float = Field(4.0, gt=1)
    """Between a side of the box and of the anchor, either way, below which `ratio` takes the anchor."""


class OptimizerSettings(_Section):
    """The step from gradients to weights, and its rate over time; the defaults are the write-up's."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    """`adamw` takes the weight decay off the weights themselves, `adam` and `sgd` add it to the gradient."""
    rate: float = Field(1e-3, gt=0)
    """Learning rate after warm-up. Write-up: 1e-3 with Adam."""
    end_rate: float = Field(1e-6, ge=0)
    """Learning rate of the last step. Write-up: 1e-6."""
    warmup_epochs: float = Field(2, ge=0)
    """The rate rises from 0 in a straight line over these epochs. Write-up: 2."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """SGD's momentum and Adam's first beta."""
    weight_decay: float = Field(0.0, ge=0)
    """On convolution kernels only. The write-up declares 5e-4 and never applies it (reference fault 8)."""
    clip: float = Field(0.0, ge=0)
    """Largest norm of the whole gradient; 0 leaves it as it is."""
    accumulate: int = Field(1, ge=1)
    """Batches whose gradients are averaged into one step."""


class LossSettings(_Section):
    """Weights and thresholds of the three losses; the defaults are the write-up's."""

    ignore_iou: Share = 0.5
    """Background that overlaps any truth by this IoU or more is not punished. Paper 2.1: 0.5; cfg: 0.7."""
    label_smoothing: Share = 0.01
    """Share of the class target spread evenly over all classes. Write-up: 0.01."""
    box: Literal["giou", "diou", "ciou"] = "giou"
    """Measure of how far a box is off. Write-up: GIoU."""
    objectness: Literal["one", "iou"] = "one"
    """What a positive's objectness should be: 1 (write-up), or the IoU that its box has."""
    giou: float = Field(1.0, ge=0)
    """Weight of the box loss, whichever measure it uses."""
    conf: float = Field(1.0, ge=0)
    prob: float = Field(1.0, ge=0)
    non_finite: Literal["stop", "skip"] = "stop"
    """What a batch does whose loss is infinite or NaN: end the run, or be left out and counted."""


class Objective(_Section):
    """What a network is asked for while it learns, and what it pays; the defaults are the write-up's.

    Every model that is trained carries it, so that `explain` can show the losses that it learnt by.
    """

    assign: AssignSettings = AssignSettings()
    loss: LossSettings = LossSettings()

    def differences(self) -> tuple[str, ...]:
        """`loss.objectness=iou` and the like, where it is not the write-up's."""
        mine, write_up = self.model_dump(mode="json"), Objective().model_dump(mode="json")
        return tuple(
            f"{section}.{name}={value}"
            for section, values in mine.items()
            for name, value in values.items()
            if value != write_up[section][name]
        )


class TrainSettings(_Section):
    """Everything that decides what a training does; saved beside its results.

    The defaults are the default recipe: `recipes/default.yaml` writes it out, `recipes/classic.yaml` is the
    write-up's, and `benchmarks/recipes.md` says what was measured of the way between them.
    """

    model: Literal["yolov3", "yolov3-spp", "yolov3-tiny"] = "yolov3-tiny"
    width: float = Field(1.0, gt=0, le=2)
    """Factor on the channel counts."""
    size: Size = (416, 416)
    """(height, width) of the network input."""
    epochs: int = Field(30, ge=1)
    batch: Batch = 4
    """Images a step. Write-up: 16. A processor takes more steps in its time with small ones; a card wants
    large ones. `auto`: as many as fit into memory, found before the first step."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Of weights, order and augmentation."""
    workers: int = Field(2, ge=0)
    """Threads that read and augment images; 0 does it in between steps."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the network while it learns; losses and weights stay float32. `auto` takes bfloat16 where the device
    computes in it natively, and float16, with gradients scaled into its range, on other CUDA cards."""
    sync_bn: bool = False
    """Normalise over the images of all processes; else each process over its own, and rank 0's running
    statistics are kept."""
    compile: bool = False
    """Let torch compile the network: slower on the processors measured so far, for trying out on a card."""
    freeze: Literal["nothing", "backbone"] = "nothing"
    """Keep the backbone's weights and statistics, for a transfer from another model."""
    anchors: Literal["official", "data"] = "official"
    """The published anchors, or for each scale k-means anchors of the training boxes that suit it."""
    init: Literal["reference", "he"] = "reference"
    """First kernels: normal with deviation 0.01 (reference), or by fan-in (He et al. 2015)."""
    objectness_prior: float = Field(0.01, gt=0, lt=1)
    """Objectness that every cell answers before the first step (Lin et al. 2017: 0.01). Reference: 0.5."""
    ema: float = Field(0.998, ge=0, lt=1)
    """Decay of the running average of the weights, which is then judged and kept; 0 for none."""
    repeat_rare: Share = 0.0
    """Images of a class that fewer than this share of the images show come more often (repeat-factor
    sampling, Gupta et al. 2019); 0 shows every image once an epoch."""
    holdout: float = Field(0.1, ge=0, lt=1)
    """Share of the training images kept for validation where the data has no validation part."""
    log_every: int = Field(10, ge=1)
    """Steps between two lines of the log."""
    evaluate_every: int = Field(1, ge=1)
    """Epochs between two evaluations; the last epoch is always evaluated."""
    checkpoint_minutes: float = Field(10, gt=0)
    """Between two checkpoints within an epoch; every epoch ends with one as well."""
    optimizer: OptimizerSettings = OptimizerSettings()
    assign: AssignSettings = AssignSettings()
    loss: LossSettings = LossSettings(objectness="iou")
    augment: AugmentSettings = AugmentSettings(translate=0, zoom=(0.6, 1.6), mosaic=1, rectangles=True)

    @model_validator(mode="after")
    def _inputs_hold_cells(self) -> Self:
        height, width = (to_multiple(side * (1 - self.augment.multi_scale)) for side in self.size)
        if max(height, width) < 64:  # one cell of one image cannot be normalised
            raise ValueError(
                f"size, augment.multi_scale: expected inputs of 64 or more, found {height}x{width}"
            )
        return self

    @model_validator(mode="after")
    def _steps_exist(self) -> Self:
        if self.optimizer.end_rate > self.optimizer.rate:
            raise ValueError(
                f"optimizer.end_rate: expected at most optimizer.rate, {self.optimizer.rate:g}, "
                f"found {self.optimizer.end_rate:g}"
            )
        return self

    @property
    def batch_size(self) -> int:
        """The batch as a number; a run has replaced `auto` by one before anything asks."""
        assert self.batch != "auto"
        return self.batch


def load_settings(recipe: Path | None, assignments: Sequence[str] = (), **options: Any) -> TrainSettings:
    """The default recipe, changed by a recipe, then by options that were given, then by `a.b=c` assignments.

    Args:
        recipe: a YAML file of settings; what it does not name stays as in the default recipe.
        assignments: `a.b=c`, the value read as YAML.
        options: top-level settings by name; None means: not given.

    Raises:
        ConfigError: unreadable YAML, an unknown key, or a value out of range; the place is named.
    """
    tree = TrainSettings().model_dump(mode="json")
    for name, value in (read_yaml(recipe) if recipe else {}).items():
        tree[name] = _merged(tree.get(name), value)
    tree |= {name: value for name, value in options.items() if value is not None}
    for assignment in assignments:
        _assign(tree, assignment)
    try:
        return TrainSettings(**tree)
    except ValidationError as error:
        raise ConfigError(f"{recipe or 'settings'}: {complaints(error, TrainSettings)}") from error


EXPECTATIONS = {  # by pydantic's types of error, where its words are about Python
    "tuple_type": "expected a list, such as [0.6, 1.6]",
    "model_type": "expected a section with settings of its own",
    "float_parsing": "expected a number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "bool_parsing": "expected true or false",
}


def complaints(error: ValidationError, settings: type[BaseModel], section: str = "") -> str:
    """All that is wrong with some settings, or with a section of them: place, expected and found of each."""
    return "; ".join(_complaint(each, settings, section) for each in error.errors())


def _complaint(error: ErrorDetails, settings: type[BaseModel], section: str) -> str:
    place = ".".join(filter(None, (section, *map(str, error["loc"]))))
    if error["type"] == "extra_forbidden":
        *sections, name = map(str, error["loc"])
        for each in sections:
            settings = cast(type[BaseModel], settings.model_fields[each].annotation)
        names = list(settings.model_fields)
        expected = get_close_matches(name, names, n=1, cutoff=0.8) or [f"one of {', '.join(names)}"]
        return f"{place}: expected {expected[0]}, found no such setting"
    own_words = EXPECTATIONS.get(error["type"], error["msg"]).removeprefix("Value error, ")
    expectation = own_words.replace("Input should be", "expected", 1)
    # our own messages say what was found
    found = "" if error["type"] == "value_error" else f", found {error['input']!r}"
    return ": ".join(filter(None, (place, expectation))) + found


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping.

    Raises:
        ConfigError: missing, not YAML (the line is named), or not a mapping.
    """
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _YamlLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected settings as `name: value`, found {type(tree).__name__}")
    strange = [name for name in tree if not isinstance(name, str)]
    if strange:
        raise ConfigError(f"{path}: expected names, found {strange[0]!r}, which YAML takes for no text")
    return tree


class _YamlLoader(yaml.SafeLoader):
    """Does not take a name twice; YAML itself forbids it, the library lets the last one win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                problem = f"{key.value!r} more than once"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _assign(tree: dict[str, Any], assignment: str) -> None:
    """Put `a.b=c` into a tree of settings."""
    name, equals, value = assignment.partition("=")
    if not equals:
        raise ConfigError(f"--set {assignment}: expected name=value")
    *sections, leaf = name.strip().split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"--set {assignment}: {section} is a value, not a section")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {assignment}: {value!r} is not YAML") from error
    tree[leaf] = _merged(tree.get(leaf), parsed)


def _merged(before: Any, value: Any) -> Any:
    """A section changes what it names; a value takes the place of another."""
    return before | value if isinstance(before, dict) and isinstance(value, dict) else value
