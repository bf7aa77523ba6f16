"""The Detector: images in, `Detections` out, with any engine.

```python
from lookonce import Detector

with Detector.open("model.onnx", conf=0.4) as detector:
    for name, score, box in detector("street.jpg"):
        print(name, score, box)
```

The path of an image, from top to bottom of this file:

```
image -> pixels -> views (the whole image, and its tiles) -> letterbox -> backend -> postprocess -> Detections
```

Legend: **B** views in a batch, **K** candidates, **C** classes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from os import PathLike
from pathlib import Path
from threading import local
from types import TracebackType
from typing import Any, NamedTuple, Self, overload
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from lookonce._counted import counted
from lookonce.detections import Detections
from lookonce.errors import ConfigError
from lookonce.geometry.letterbox import GRAY, Fit, Letterbox
from lookonce.geometry.sizes import size_text
from lookonce.images import ReducedImage
from lookonce.inputs import Image, as_pixels, as_reduced
from lookonce.networks import model_name, model_path
from lookonce.runtime.backends import Backend, Precision, open_backend
from lookonce.runtime.devices import AUTO
from lookonce.runtime.options import IOU, Classes, Conf, DetectOptions
from lookonce.runtime.postprocess import DEFAULTS, locate, postprocess, suppress
from lookonce.runtime.tiles import OVERLAP, Tiles, Tiling, Window, join
from lookonce.tiff import LargeImage, is_large_tiff


class Detector:
    """Finds objects in images. Several threads may call it at once.

    Attributes:
        info: description from the model file.
        options: detection options; `classes` holds numbers, and `conf` the thresholds in use.
        size: (height, width) of the network's input; with `rect`, the largest.
        fit: how an image is fitted to that size.
    """

    def __init__(self, backend: Backend, options: DetectOptions = DEFAULTS, model: str = "") -> None:
        """Wrap a backend that is already open; most callers want `Detector.open`.

        Args:
            backend: the engine with the network.
            options: detection options.
            model: name of the model, for `repr`.

        Raises:
            ConfigError: options that this model does not support.
            TypeError: a path instead of a backend.
        """
        if isinstance(backend, str | PathLike):
            raise TypeError(f"expected an open backend, found a path; try Detector.open({str(backend)!r})")
        self.info = backend.info
        self.options = options.for_model(backend.info)
        self.size = options.input_size(backend)
        self.fit = options.fit_policy(backend)
        self._model = model
        self._tiling = options.tiling
        self._backend: Backend | None = backend
        self._fixed_batch = backend.input_shape[0]
        self._buffers = local()

    @classmethod
    def open(
        cls,
        model: str | PathLike[str],
        *,
        conf: Conf | None = None,
        iou: float = IOU,
        classes: Classes | None = None,
        agnostic: bool = False,
        soft_nms: bool = False,
        multi_label: bool = False,
        size: int | tuple[int, int] | None = None,
        fit: Fit | None = None,
        rect: bool = False,
        reduce_jpeg: bool = False,
        tiles: Tiles | None = None,
        overlap: float = OVERLAP,
        backend: str | None = None,
        precision: Precision = "auto",
        threads: int | None = None,
        device: str = AUTO,
        weights: str | Path | None = None,
    ) -> Self:
        """Open a model file; its suffix decides which engine runs it.

        Args:
            model: any model file that lookonce reads, or `coco`, the network in the package.
            conf: score threshold; a detection's score lies above it. By class name if they differ, and
                classes that are not named keep the model's; None: the thresholds in the model file, else
                0.25.
            iou: IoU threshold; of two boxes that overlap by more, the better one stays.
            classes: name or number of the class to find, or several of them; None for all.
            agnostic: suppress across classes, so that overlapping boxes of different classes count as one
                object.
            soft_nms: lower the scores of overlapping boxes instead of dropping them by `iou`.
            multi_label: count every class of a box whose score is above `conf`, as Darknet does; by default a
                box has only its most probable class.
            size: side of a square network input, or (height, width); None: the model's own.
            fit: how an image is fitted to the input size, `letterbox` or `stretch`; None: the model's own.
            rect: reduce the letterbox's padding to multiples of the stride: less work on wide or tall images.
            reduce_jpeg: decode a large JPEG, a file or its content, at a half, a quarter or an eighth of its
                size, as far as that is not below the network's input: less exact, in half of the time.
            tiles: detect on parts of each image as well, for small objects: side of a square tile in pixels
                of the image, or (rows, columns); None: only on the whole image.
            overlap: share of a tile's side that overlaps the next tile.
            backend: engine, `onnxruntime`, `openvino`, `torch`, `tensorrt` or `ncnn`; None: the first that
                reads the file.
            precision: `float32`; `bfloat16`, less exact, on CPUs that support it; `int8`, for an int8 file or
                a model that `lookonce tune` made one for; `auto`: the choice of `lookonce tune` for this
                machine, else float32.
            threads: threads of the engine per call; None: the engine decides.
            device: `auto`, `cpu`, `cuda`, `mps`, OpenVINO's `gpu` or `npu`, with a number if there are
                several: `cuda:1`.
            weights: weight file of a Darknet `.cfg`; None: the one beside it.

        Raises:
            ModelFileError: no such file, damaged, or not a model.
            MissingExtraError: the engine for this kind of file is not installed.
            ConfigError: an option out of range, or one that this model does not support.
        """
        options = DetectOptions(
            conf=conf,
            iou=iou,
            classes=classes,
            agnostic=agnostic,
            soft_nms=soft_nms,
            multi_label=multi_label,
            size=size,
            fit=fit,
            rect=rect,
            reduce_jpeg=reduce_jpeg,
            tiles=tiles,
            overlap=overlap,
            backend=backend,
            precision=precision,
            threads=threads,
            device=device,
            weights=weights,
        )
        return cls.with_options(model, options)

    @classmethod
    def with_options(cls, model: str | PathLike[str], options: DetectOptions) -> Self:
        """Open a model file with options in one record; raises what `open` raises."""
        path = model_path(model)
        backend = open_backend(
            path,
            backend=options.backend,
            threads=options.threads,
            weights=None if options.weights is None else Path(options.weights),
            precision=options.precision,
            device=options.device,
        )
        try:
            return cls(backend, options, model_name(path))
        except ConfigError:
            backend.close()
            raise

    def __repr__(self) -> str:
        classes = counted(len(self.names), "class")
        name = f"{self._model}: " if self._model else ""
        return f"Detector({name}{self.info.architecture}, {classes}, {size_text(self.size)}, {self.engine})"

    @property
    def engine(self) -> str:
        """Return engine, device if it is not the CPU, and precision: `onnxruntime, float32`; or `closed`."""
        return "closed" if self._backend is None else self._backend.engine

    @property
    def names(self) -> tuple[str, ...]:
        """Return the class names; labels index into them."""
        return self.info.names

    @overload
    def __call__(
        self,
        image: Image,
        *,
        conf: Conf | None = None,
        iou: float | None = None,
        classes: Classes | None = None,
    ) -> Detections: ...

    @overload
    def __call__(
        self,
        image: list[Image] | tuple[Image, ...],
        *,
        conf: Conf | None = None,
        iou: float | None = None,
        classes: Classes | None = None,
    ) -> list[Detections]: ...

    def __call__(
        self,
        image: Image | list[Image] | tuple[Image, ...],
        *,
        conf: Conf | None = None,
        iou: float | None = None,
        classes: Classes | None = None,
    ) -> Detections | list[Detections]:
        """Detect on one image, or on each of a list: RGB pixels, a path, or other input.

        Tiles are run one by one: on a CPU that is as fast as a batch, with the memory of one tile. On a GPU,
        use `detect_many`.

        Args:
            image: the image, or a list of images.
            conf: score threshold of this call, or thresholds by class name; None, and for other classes: the
                detector's.
            iou: IoU threshold of this call; None: the detector's.
            classes: classes to find in this call; None: the detector's.

        Raises:
            ImageError: not an image, or unreadable.
            ConfigError: a value out of range, or no such class.
            ValueError: the detector was closed.
        """
        if isinstance(image, list | tuple):
            return list(self.detect_many(image, conf=conf, iou=iou, classes=classes))
        return self._detect([image], 1, self._options(conf, iou, classes))[0]

    def detect_many(
        self,
        images: Iterable[Image],
        *,
        batch: int = 8,
        conf: Conf | None = None,
        iou: float | None = None,
        classes: Classes | None = None,
    ) -> Iterator[Detections]:
        """Detect on images of any sizes in batches, lazily: one result per image, in order.

        Args:
            images: any number of images; only one batch is held at a time.
            batch: batch size of the network, counting every tile. With `rect`, only inputs of the same shape
                share a batch.
            conf: score threshold of this call, or thresholds by class name; None, and for other classes: the
                detector's.
            iou: IoU threshold of this call; None: the detector's.
            classes: classes to find in this call; None: the detector's.

        Raises:
            ImageError: as for a single image, raised with its batch.
            ConfigError: a value out of range, or no such class.
            ValueError: the detector was closed, or a batch size below 1.
        """
        if batch < 1:
            raise ValueError(f"batch: expected 1 or more, found {batch}")
        options, waiting = self._options(conf, iou, classes), iter(images)
        while group := list(islice(waiting, batch)):
            yield from self._detect(group, batch, options)

    def with_features(
        self, image: Image, *, conf: Conf | None = None
    ) -> tuple[Detections, NDArray[np.float32]]:
        """Detect on one image, without tiles, and return its features (F,) as well.

        Images that look alike to the network have similar features; see `runtime.backends.Backend`.

        Args:
            image: the image.
            conf: score threshold of this call; None: the detector's.

        Raises:
            ImageError: not an image, or unreadable.
            ModelFileError: a network without convolutions.
            ValueError: the detector was closed.
        """
        if self._backend is None:
            raise ValueError("this Detector was closed")
        view = self._views(image, None)[0]
        candidates, features = self._backend.with_features(self._inputs([view]))
        found = postprocess(candidates[0], view.letterbox, self._options(conf, None, None), self.names)
        return replace(found, source=_source(image)), features[0]

    def warm_up(self) -> None:
        """Run once on a gray image, so that lazy initialization does not delay the first real one."""
        self(np.full((*self.size, 3), GRAY, np.uint8))

    def close(self) -> None:
        """Free the engine's memory; detecting afterwards is an error, closing again is not.

        A running detection in another thread returns its result or raises that error.
        """
        backend, self._backend = self._backend, None
        if backend is not None:
            backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _options(self, conf: Conf | None, iou: float | None, classes: Classes | None) -> DetectOptions:
        """Return the detector's options with those given for one call."""
        own = self.options
        if conf is None and iou is None and classes is None:
            return own
        if isinstance(conf, Mapping):
            usual = own.conf if isinstance(own.conf, Mapping) else dict.fromkeys(self.names, own.conf or 0)
            conf = {**usual, **conf}
        options = replace(
            own,
            conf=own.conf if conf is None else conf,
            iou=own.iou if iou is None else iou,
            classes=own.classes if classes is None else classes,
        )
        return options.for_model(self.info)

    def _detect(self, images: Sequence[Image], batch: int, options: DetectOptions) -> list[Detections]:
        """Detect on a few images: their views go through the network `batch` by `batch`."""
        views_of = [self._views(image, self._tiling) for image in images]
        views = list(chain.from_iterable(views_of))
        # Each tile is suppressed before boxes cut off are dropped, or a worse box of a cut object would take
        # the place of the best one; scores that soft-NMS lowers are lowered once, over all tiles.
        step = locate if self._tiling is not None and options.soft_nms else postprocess
        found: dict[int, Detections] = {}
        for places in _batches([view.letterbox.target for view in views], self._fixed_batch or batch):
            if (backend := self._backend) is None:
                raise ValueError("this Detector was closed")
            candidates = backend(self._inputs([views[place] for place in places]))
            for place, each in zip(places, candidates, strict=False):  # a fixed batch may be filled up
                found[place] = step(each, views[place].letterbox, options, self.names)
        results = [found[place] for place in range(len(views))]
        if self._tiling is not None:
            parts, windows_of = iter(results), [[view.window for view in views] for views in views_of]
            joined = (join(list(islice(parts, len(each))), each) for each in windows_of)
            results = [suppress(each, options) for each in joined]
        return [replace(each, source=_source(image)) for each, image in zip(results, images, strict=True)]

    def least_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return (height, width) of the part of the network's input that an image of some size fills."""
        return self._letterbox(size).resized

    def _letterbox(self, shape: tuple[int, int]) -> Letterbox:
        if self.options.rect:
            return Letterbox.rectangle(shape, self.size, self.info.side_multiple)
        return Letterbox.for_policy(self.fit, shape, self.size)

    def _views(self, image: Image, tiling: Tiling | None) -> list["_View"]:
        """Read an image and cut it into views, each with its letterbox: the whole image first.

        With tiles, a file that is too large for memory is read by windows. A large JPEG is decoded at a part
        of its size if the options say so.
        """
        pixels: NDArray[np.uint8] | LargeImage | ReducedImage | None = None  # (H, W, 3) RGB
        if tiling is not None and isinstance(image, LargeImage):
            pixels = image
        elif tiling is not None and isinstance(image, str | PathLike) and is_large_tiff(Path(image)):
            pixels = LargeImage(Path(image), self.info.values)
        elif self.options.reduce_jpeg:
            pixels = as_reduced(image, self.least_size)
        if pixels is None:
            pixels = as_pixels(image, self.info.values)
        size = pixels.shape[0], pixels.shape[1]
        whole = Window(0, 0, size[1], size[0])
        views = []
        for window in [whole] if tiling is None else tiling.windows(size):
            shape = window.bottom - window.top, window.right - window.left
            views.append(_View(pixels, window, self._letterbox(shape)))
        return views

    def _inputs(self, views: Sequence["_View"]) -> NDArray[np.uint8]:
        """Return the network input (B, H, W, 3) of views of one input shape.

        Its memory is reused by later calls of the same thread, because allocating new pages takes time.
        """
        shape = self._fixed_batch or len(views), *views[0].letterbox.target, 3
        needed = int(np.prod(shape))
        buffer: NDArray[np.uint8] | None = getattr(self._buffers, "pixels", None)
        if buffer is None or len(buffer) < needed:
            buffer = self._buffers.pixels = np.empty(needed, np.uint8)
        inputs = buffer[:needed].reshape(shape)
        for view, out in zip(views, inputs[: len(views)], strict=True):
            pixels = view.window.of(view.image)  # of a large image perhaps reduced
            replace(view.letterbox, source=pixels.shape[:2]).image(pixels, out)
        return inputs


class _View(NamedTuple):
    """An image, or a part of it, on its way through the network."""

    image: NDArray[np.uint8] | LargeImage | ReducedImage  # (H, W, 3), the whole
    window: Window
    letterbox: Letterbox


def _source(image: Image) -> str | PathLike[str] | ref[Any] | None:
    """Return a path or weak reference, so that a notebook can show the image later; it keeps no pixels."""
    if isinstance(image, str | PathLike):
        return image
    if hasattr(image, "read"):  # a file that is at its end now
        return None
    try:
        return ref(image)
    except TypeError:  # bytes and their kind
        return None


def _batches(shapes: Sequence[tuple[int, int]], batch: int) -> Iterator[list[int]]:
    """Group indices of equal shapes, at most `batch` at a time, in order of first occurrence.

    Padding one shape to another would undo the saving of `rect`.
    """
    alike: dict[tuple[int, int], list[int]] = {}
    for place, shape in enumerate(shapes):
        alike.setdefault(shape, []).append(place)
    for places in alike.values():
        for start in range(0, len(places), batch):
            yield places[start : start + batch]
