"""The Detector: images in, `Detections` out, with any engine.

```python
from lookonce import Detector

with Detector.open("model.onnx", conf=0.4) as detector:
    for name, score, box in detector("street.jpg"):
        print(name, score, box)
```

An image takes these steps, in the order of this file:

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
        options: detection options, with class numbers in `classes` and the thresholds in use in `conf`.
        size: (height, width) of the network's input; with `rect`, the largest possible.
        fit: how images are fitted to the input size, `letterbox` or `stretch`.
    """

    def __init__(self, backend: Backend, options: DetectOptions = DEFAULTS, model: str = "") -> None:
        """Wrap a backend that is already open; `Detector.open` is the usual way.

        Args:
            backend: open backend.
            options: detection options.
            model: name of the model, for `repr`.

        Raises:
            ConfigError: the model does not support an option.
            TypeError: `backend` is a path.
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
        """Open a model file with the engine for its suffix.

        Args:
            model: any model file that lookonce reads, or `coco`, the network in the package.
            conf: score threshold, or thresholds by class name; a class that is not named keeps the model's
                threshold. None for the thresholds in the model file, or 0.25 if it has none.
            iou: IoU threshold of NMS; a box that overlaps a better one by more is dropped.
            classes: name or number of the class to find, or several of them; None for all.
            agnostic: apply NMS across classes, so that overlapping boxes of different classes count as one
                object.
            soft_nms: lower the scores of overlapping boxes instead of dropping them by `iou`.
            multi_label: keep every class of a box whose score is above `conf`, as Darknet does; by default a
                box has only its most probable class.
            size: side of a square network input, or (height, width); None for the model's own size.
            fit: how an image is fitted to the input size, `letterbox` or `stretch`; None for the model's own.
            rect: reduce the letterbox padding to multiples of the stride, which saves time on wide or tall
                images.
            reduce_jpeg: decode a large JPEG at a half, a quarter or an eighth of its size, but not below the
                network's input size; less exact, in half the time.
            tiles: detect on parts of each image as well, for small objects: side of a square tile in image
                pixels, or (rows, columns); None for the whole image only.
            overlap: share of a tile's side that overlaps the next tile.
            backend: engine, `onnxruntime`, `openvino`, `torch`, `tensorrt` or `ncnn`; None for the first that
                reads the file.
            precision: `float32`; `bfloat16` on CPUs that support it, less exact; `int8` for an int8 file, or
                for a model that `lookonce tune` quantized; `auto` for the choice of `lookonce tune` on this
                machine, or float32 if there is none.
            threads: engine threads per call; None lets the engine decide.
            device: `auto`, `cpu`, `cuda`, `mps`, or OpenVINO's `gpu` or `npu`, with a number if there are
                several: `cuda:1`.
            weights: weight file of a Darknet `.cfg`; None for the file beside it.

        Raises:
            ModelFileError: there is no such file, or it is damaged or not a model.
            MissingExtraError: the engine for this kind of file is not installed.
            ConfigError: an option is out of range, or not supported by this model.
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
        """Open a model file with the given options; raises the same errors as `open`."""
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
        """Return the engine, the device unless it is the CPU, and the precision; `closed` after `close`."""
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
        """Detect objects in one image, or in each image of a list: RGB pixels, a path, or other input.

        The tiles of one image run one by one, which on a CPU is as fast as a batch and needs less memory. On
        a GPU, use `detect_many`.

        Args:
            image: image, or list of images.
            conf: score threshold of this call, or thresholds by class name; for None, or a class without one,
                the detector's own.
            iou: IoU threshold of this call; None for the detector's own.
            classes: classes to find in this call; None for the detector's own.

        Raises:
            ImageError: the input is not an image, or cannot be read.
            ConfigError: a value is out of range, or there is no such class.
            ModelFileError: the engine fails, or its output is not finite.
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
        """Yield the detections of each image, in order, running the network on batches.

        Args:
            images: any number of images of any sizes; only one batch is in memory at a time.
            batch: batch size of the network, counting every tile. With `rect`, only inputs of the same shape
                share a batch.
            conf: score threshold of this call, or thresholds by class name; for None, or a class without one,
                the detector's own.
            iou: IoU threshold of this call; None for the detector's own.
            classes: classes to find in this call; None for the detector's own.

        Raises:
            ImageError: an input is not an image, or cannot be read; its whole batch is lost.
            ConfigError: a value is out of range, or there is no such class.
            ModelFileError: the engine fails, or its output is not finite.
            ValueError: the detector was closed, or `batch` is below 1.
        """
        if batch < 1:
            raise ValueError(f"batch: expected 1 or more, found {batch}")
        options, waiting = self._options(conf, iou, classes), iter(images)
        while group := list(islice(waiting, batch)):
            yield from self._detect(group, batch, options)

    def with_features(
        self, image: Image, *, conf: Conf | None = None
    ) -> tuple[Detections, NDArray[np.float32]]:
        """Detect objects in one image, without tiles, and return the image's features (F,) as well.

        Similar images have similar features; see `runtime.backends.Backend`.

        Args:
            image: image.
            conf: score threshold of this call, or thresholds by class name; for None, or a class without one,
                the detector's own.

        Raises:
            ImageError: the input is not an image, or cannot be read.
            ConfigError: a value is out of range, or there is no such class.
            ModelFileError: the network has no convolutions, the engine fails, or its output is not finite.
            ValueError: the detector was closed.
        """
        if self._backend is None:
            raise ValueError("this Detector was closed")
        view = self._views(image, None)[0]
        candidates, features = self._backend.with_features(self._inputs([view]))
        found = postprocess(candidates[0], view.letterbox, self._options(conf, None, None), self.names)
        return replace(found, source=_source(image)), features[0]

    def warm_up(self) -> None:
        """Run once on a gray image, so that lazy initialization does not delay the first real image."""
        self(np.full((*self.size, 3), GRAY, np.uint8))

    def close(self) -> None:
        """Free the engine's memory; detecting afterwards is an error, closing again is not.

        A detection still running in another thread returns its result or raises an error.
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
        """Return the detector's options, replaced by those given for one call."""
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
        """Detect objects in a few images; their views go through the network in batches."""
        views_of = [self._views(image, self._tiling) for image in images]
        views = list(chain.from_iterable(views_of))
        # NMS runs on each tile before boxes that are cut off are dropped; otherwise a worse box of a cut
        # object would replace the best one. Soft-NMS lowers scores, so it runs only once, over all tiles.
        step = locate if self._tiling is not None and options.soft_nms else postprocess
        found: dict[int, Detections] = {}
        for places in _batches([view.letterbox.target for view in views], self._fixed_batch or batch):
            if (backend := self._backend) is None:
                raise ValueError("this Detector was closed")
            candidates = backend(self._inputs([views[place] for place in places]))
            for place, each in zip(places, candidates, strict=False):  # a fixed batch may be longer
                found[place] = step(each, views[place].letterbox, options, self.names)
        results = [found[place] for place in range(len(views))]
        if self._tiling is not None:
            parts, windows_of = iter(results), [[view.window for view in views] for views in views_of]
            joined = (join(list(islice(parts, len(each))), each) for each in windows_of)
            results = [suppress(each, options) for each in joined]
        return [replace(each, source=_source(image)) for each, image in zip(results, images, strict=True)]

    def least_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return (height, width) of the part of the network input that an image of a given size fills."""
        return self._letterbox(size).resized

    def _letterbox(self, shape: tuple[int, int]) -> Letterbox:
        if self.options.rect:
            return Letterbox.rectangle(shape, self.size, self.info.side_multiple)
        return Letterbox.for_policy(self.fit, shape, self.size)

    def _views(self, image: Image, tiling: Tiling | None) -> list["_View"]:
        """Read an image and return its views, each with its letterbox: the whole image, then the tiles.

        With tiles, a TIFF that is too large for memory is read in windows. With `reduce_jpeg`, a large JPEG
        is decoded at a fraction of its size.
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
        """Return the network input (B, H, W, 3) of views that share an input shape.

        Later calls in the same thread reuse its memory, because allocating new pages takes time.
        """
        shape = self._fixed_batch or len(views), *views[0].letterbox.target, 3
        needed = int(np.prod(shape))
        buffer: NDArray[np.uint8] | None = getattr(self._buffers, "pixels", None)
        if buffer is None or len(buffer) < needed:
            buffer = self._buffers.pixels = np.empty(needed, np.uint8)
        inputs = buffer[:needed].reshape(shape)
        for view, out in zip(views, inputs[: len(views)], strict=True):
            pixels = view.window.of(view.image)  # may be reduced
            replace(view.letterbox, source=pixels.shape[:2]).image(pixels, out)
        return inputs


class _View(NamedTuple):
    """An image, or a part of it, on its way through the network."""

    image: NDArray[np.uint8] | LargeImage | ReducedImage  # (H, W, 3), the whole image
    window: Window
    letterbox: Letterbox


def _source(image: Image) -> str | PathLike[str] | ref[Any] | None:
    """Return the path or a weak reference, so that a notebook can show the image later without holding it."""
    if isinstance(image, str | PathLike):
        return image
    if hasattr(image, "read"):  # a file that was read to its end
        return None
    try:
        return ref(image)
    except TypeError:  # bytes and similar types have no weak references
        return None


def _batches(shapes: Sequence[tuple[int, int]], batch: int) -> Iterator[list[int]]:
    """Yield groups of at most `batch` indices of equal shapes, in order of first occurrence.

    Padding one shape to another would undo the time that `rect` saves.
    """
    alike: dict[tuple[int, int], list[int]] = {}
    for place, shape in enumerate(shapes):
        alike.setdefault(shape, []).append(place)
    for places in alike.values():
        for start in range(0, len(places), batch):
            yield places[start : start + batch]
