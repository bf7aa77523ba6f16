"""Options of a `Detector`: a frozen record, validated on creation and resolved against a model."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
from numpy.typing import NDArray

from lookonce.errors import ConfigError
from lookonce.geometry.letterbox import Fit
from lookonce.geometry.sizes import size_advice
from lookonce.metadata import LARGEST_SIDE, ModelInfo
from lookonce.runtime.backends import ENGINES, Backend, Precision, check_precision
from lookonce.runtime.devices import AUTO, check_device
from lookonce.runtime.tiles import OVERLAP, Tiles, Tiling

CONF = 0.25  # as in darknet's detector: -thresh 0.25
EVALUATION_CONF = 0.001  # low, because AP counts every detection
MOST_THREADS = 1024  # engines start as many as given, or overflow at 32 bits
IOU = 0.45  # as in darknet's detector and the reference's evaluation script


Conf = float | Mapping[str, float]  # for all classes, or by class name
Classes = str | int | Collection[str | int]  # one class by name or number, or several


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectOptions:
    """Options of detection.

    Attributes:
        conf: score threshold, or thresholds by class name; a class that is not named keeps the model's
            threshold. None for the thresholds in the model file, or 0.25 if it has none.
        iou: IoU threshold of NMS; a box that overlaps a better one by more is dropped.
        classes: name or number of the class to find, or several of them; None for all.
        agnostic: apply NMS across classes, so that overlapping boxes of different classes count as one
            object.
        soft_nms: lower the scores of overlapping boxes instead of dropping them by `iou`.
        multi_label: keep every class of a box whose score is above `conf`, as Darknet does; by default a box
            has only its most probable class.
        size: side of a square network input, or (height, width); None for the model's own size.
        fit: how an image is fitted to the input size, `letterbox` or `stretch`; None for the model's own.
        rect: reduce the letterbox padding to multiples of the stride, which saves time on wide or tall
            images.
        reduce_jpeg: decode a large JPEG at a half, a quarter or an eighth of its size, but not below the
            network's input size; less exact, in half the time.
        tiles: detect on parts of each image as well, for small objects: side of a square tile in image
            pixels, or (rows, columns); None for the whole image only.
        overlap: share of a tile's side that overlaps the next tile.
        backend: engine, a name in `backends.ENGINES`; None for the first that reads the file.
        precision: `float32`; `bfloat16` on CPUs that support it, less exact; `int8` for an int8 file, or for
            a model that `lookonce tune` quantized; `auto` for the choice of `lookonce tune` on this machine,
            or float32 if there is none.
        threads: engine threads per call; None lets the engine decide.
        device: a name in `runtime.devices`; `auto` for a GPU with CUDA if the engine finds one, else the CPU.
        weights: weight file of a Darknet `.cfg`; None for the file beside it.

    Raises:
        ConfigError: a value is out of range; the message names the field.
    """

    conf: Conf | None = None
    iou: float = IOU
    classes: Classes | None = None
    agnostic: bool = False
    soft_nms: bool = False
    multi_label: bool = False
    size: int | tuple[int, int] | None = None
    fit: Fit | None = None
    rect: bool = False
    reduce_jpeg: bool = False
    tiles: Tiles | None = None
    overlap: float = OVERLAP
    backend: str | None = None
    precision: Precision = "auto"
    threads: int | None = None
    device: str = AUTO
    weights: str | Path | None = None

    def __post_init__(self) -> None:
        given: Any = self  # of any type, if the caller's code is not checked
        if isinstance(self.conf, Mapping):
            object.__setattr__(self, "conf", dict(self.conf))
        confs = given.conf.values() if isinstance(self.conf, Mapping) else [given.conf or 0]
        for name, value in [*(("conf", each) for each in confs), ("iou", given.iou)]:
            if not isinstance(value, int | float | np.number) or not 0 <= value <= 1:
                raise ConfigError(f"{name}: expected a number from 0 to 1, found {value!r}")
        if self.classes is not None:
            one = isinstance(self.classes, str) or not isinstance(self.classes, Collection)
            several = (given.classes,) if one else tuple(given.classes)
            if not all(isinstance(each, str | Integral) for each in several):
                raise ConfigError(f"classes: expected names or numbers of classes, found {self.classes!r}")
            object.__setattr__(self, "classes", several)
        sides = given.size if isinstance(self.size, tuple) else (1 if self.size is None else given.size,)
        if len(sides) > 2 or not all(isinstance(side, int) and 0 < side <= LARGEST_SIDE for side in sides):
            raise ConfigError(f"size: expected sides of 1 to {LARGEST_SIDE} pixels, found {self.size!r}")
        if self.fit not in (None, *get_args(Fit)):
            raise ConfigError(f"fit: expected {' or '.join(get_args(Fit))}, found {self.fit!r}")
        Tiling((1, 1) if self.tiles is None else self.tiles, self.overlap)
        if self.reduce_jpeg and self.tiles is not None:
            raise ConfigError("reduce_jpeg: expected no tiles, which need the image at its full size")
        if self.backend not in (None, *ENGINES):
            raise ConfigError(f"backend: expected one of {', '.join(ENGINES)}, found {self.backend!r}")
        check_device(self.device)
        check_precision(self.precision, self.backend, self.device)
        if self.threads is not None and not (
            isinstance(given.threads, int) and 1 <= self.threads <= MOST_THREADS
        ):
            raise ConfigError(
                f"threads: expected a whole number from 1 to {MOST_THREADS:,}, found {self.threads!r}"
            )

    def for_model(self, info: ModelInfo) -> Self:
        """Return the options with class numbers, and with a threshold for each class or for all.

        Raises:
            ConfigError: the model has no such class.
        """
        own = dict(zip(info.names, info.thresholds, strict=False))
        conf = self.conf
        if isinstance(conf, Mapping):
            if unknown := [name for name in conf if name not in info.names]:
                raise unknown_class("conf", unknown[0], info.names)
            conf = {name: conf.get(name, own.get(name, CONF)) for name in info.names}
        elif conf is None:
            conf = own or CONF
        return replace(self, conf=conf, classes=self.class_numbers(info.names))

    def thresholds(self, names: Sequence[str]) -> NDArray[np.float32]:
        """Return the score threshold of each class, (C,), or one threshold for all, (1,)."""
        if isinstance(self.conf, Mapping):
            return np.array(self.thresholds_of(names), np.float32)
        return np.array([CONF if self.conf is None else self.conf], np.float32)

    def thresholds_of(self, names: Sequence[str]) -> tuple[float, ...]:
        """Return the score threshold of each class, not rounded to float32."""
        conf = CONF if self.conf is None else self.conf
        return tuple(conf.get(name, CONF) if isinstance(conf, Mapping) else conf for name in names)

    @property
    def tiling(self) -> Tiling | None:
        """Return the tiling; None without tiles."""
        return None if self.tiles is None else Tiling(self.tiles, self.overlap)

    def as_record(self) -> dict[str, Any]:
        """Return the options that affect the results, as JSON types; `threads` only affects the time."""
        record = {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }
        del record["threads"]
        if self.weights is not None:
            record["weights"] = str(self.weights)
        return record

    def input_size(self, backend: Backend) -> tuple[int, int]:
        """Return (height, width) of the network input: the chosen size, else the file's own.

        Raises:
            ConfigError: a side is not a multiple of the model's largest stride, or the size is not the fixed
                size of the file.
        """
        _, *fixed = backend.input_shape
        expected = tuple(side or usual for side, usual in zip(fixed, backend.info.input_size, strict=True))
        height, width = (self.size, self.size) if isinstance(self.size, int) else self.size or expected
        multiple = backend.info.side_multiple
        fits = all(0 < side <= LARGEST_SIDE and side % multiple == 0 for side in (height, width))
        # the size in a Darknet .cfg need not be a multiple of 32
        if not fits and (height, width) != backend.info.input_size:
            raise ConfigError(
                f"size: expected multiples of {multiple} up to {LARGEST_SIDE}, "
                f"found {height}x{width} (height x width){size_advice((height, width), multiple)}"
            )
        if any(side not in (None, given) for side, given in zip(fixed, (height, width), strict=True)):
            raise ConfigError(
                f"size: expected {expected[0]}x{expected[1]} (height x width), to which this file is fixed, "
                f"found {height}x{width}; a model exported with an open size takes any"
            )
        return height, width

    def fit_policy(self, backend: Backend) -> Fit:
        """Return how images are fitted to the input size: the chosen way, else the model's own.

        Raises:
            ConfigError: `rect` is set, but images are stretched, or the file's input size is fixed.
        """
        fit = self.fit or backend.info.fit
        if self.rect and fit == "stretch":
            raise ConfigError(
                "rect: leaves out the padding of a letterbox, but here images are stretched to the input, "
                "without padding; expected fit 'letterbox'"
            )
        if self.rect and backend.input_shape[1:] != (None, None):
            raise ConfigError(
                "rect: expected a model whose input takes any height and width, found a file fixed to "
                f"{backend.input_shape[1]}x{backend.input_shape[2]} (height x width); export it with an open "
                "size"
            )
        return fit

    def class_numbers(self, names: tuple[str, ...]) -> tuple[int, ...] | None:
        """Return the numbers of the classes to find; None for all.

        A string of digits is a class number, unless it is a class name.

        Raises:
            ConfigError: the model has no such class.
        """
        if self.classes is None:
            return None
        assert not isinstance(self.classes, str | int)  # __post_init__ made it a tuple
        numbers = {str(number): number for number in range(len(names))}
        numbers |= {name: number for number, name in enumerate(names)}
        found = []
        for wanted in self.classes:
            number = numbers.get(wanted) if isinstance(wanted, str) else wanted
            if number is None or not 0 <= number < len(names):
                raise unknown_class("classes", wanted, names)
            found.append(int(number))
        return tuple(found)


def unknown_class(field: str, wanted: str | int, names: Sequence[str]) -> ConfigError:
    """Return the error for a class that the model does not have, with a similar name if there is one."""
    from difflib import get_close_matches

    near = get_close_matches(str(wanted), names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return ConfigError(f"{field}: expected some of {', '.join(names)}; found {wanted!r}{hint}")
