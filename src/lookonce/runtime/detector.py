"""The Detector: images in, `Detections` out, with any engine.

```python
from lookonce import Detector

with Detector.open("model.onnx", conf=0.4) as detector:
    for name, score, box in detector("street.jpg"):
        print(name, score, box)
```

The road of an image, from top to bottom of this file:

```
image -> pixels -> views (the whole image, and its tiles) -> letterbox -> backend -> postprocess -> Detections
```

Legend: **B** views in a batch, **K** candidates, **C** classes.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from os import PathLike
from pathlib import Path
from threading import local
from types import TracebackType
from typing import Any, NamedTuple, Self, Unpack, overload
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.errors import ConfigError
from lookonce.geometry.letterbox import GREY, Letterbox
from lookonce.inputs import Image, as_pixels
from lookonce.networks import model_path
from lookonce.runtime.backends import Backend, open_backend
from lookonce.runtime.options import DetectOptions, Overrides, multiple_of_sides
from lookonce.runtime.postprocess import DEFAULTS, locate, postprocess, suppress
from lookonce.runtime.tiles import Window, join


class Detector:
    """Finds objects in images. Several threads may call it at once.

    Attributes:
        info: description from the model file.
        options: detection options; `classes` holds numbers, and `conf` the thresholds in use.
        size: (height, width) of the network's input; with `rect`, the largest.
        fit: how an image is brought to that size.
    """

    def __init__(self, backend: Backend, options: DetectOptions = DEFAULTS) -> None:
        """Wrap a backend that is already open; most callers want `Detector.open`.

        Raises:
            ConfigError: options that this model does not support.
        """
        self.info = backend.info
        self.options = options.for_model(backend.info)
        self.size = options.input_size(backend)
        self.fit = options.fit_policy(backend)
        self._tiling = options.tiling
        self._backend: Backend | None = backend
        self._fixed_batch = backend.input_shape[0]
        self._buffers = local()

    @classmethod
    def open(
        cls, path: str | Path, options: DetectOptions = DEFAULTS, **overrides: Unpack[Overrides]
    ) -> Self:
        """Open a model file; its suffix decides which engine runs it.

        Args:
            path: any model file that lookonce reads, or `coco`, the network in the package.
            options: detection options. **overrides: fields of `DetectOptions` that replace those of
                `options`.

        Raises:
            ModelFileError: no such file, damaged, or not a model.
            MissingExtraError: the engine for this kind of file is not installed.
            ConfigError: an option out of range, or one that this model does not support.
        """
        options = replace(options, **overrides)
        weights = None if options.weights is None else Path(options.weights)
        backend = open_backend(
            model_path(path),
            backend=options.backend,
            threads=options.threads,
            weights=weights,
            precision=options.precision,
        )
        try:
            return cls(backend, options)
        except ConfigError:
            backend.close()
            raise

    @property
    def names(self) -> tuple[str, ...]:
        """Return the class names; labels index into them."""
        return self.info.names

    @overload
    def __call__(self, image: Image) -> Detections: ...

    @overload
    def __call__(self, image: list[Image] | tuple[Image, ...]) -> list[Detections]: ...

    def __call__(self, image: Image | list[Image] | tuple[Image, ...]) -> Detections | list[Detections]:
        """Detect on one image, or on each of a list: RGB pixels, a path, or other input.

        Tiles are run one by one: on a CPU that is as fast as a batch, with the memory of one tile. On a GPU,
        use `detect_many`.

        Raises:
            ImageError: not an image, or unreadable.
            ValueError: the detector was closed.
        """
        if isinstance(image, list | tuple):
            return list(self.detect_many(image))
        return self._detect([image], batch=1)[0]

    def detect_many(self, images: Iterable[Image], *, batch: int = 8) -> Iterator[Detections]:
        """Detect on images of any sizes in batches, lazily: one result per image, in order.

        Args:
            images: any number of images; only one batch is held at a time.
            batch: batch size of the network, counting every tile. With `rect`, only inputs of the same shape
                share a batch.

        Raises:
            ImageError: as for a single image, raised with its batch.
            ValueError: the detector was closed, or a batch size below 1.
        """
        if batch < 1:
            raise ValueError(f"batch: expected 1 or more, found {batch}")
        waiting = iter(images)
        while group := list(islice(waiting, batch)):
            yield from self._detect(group, batch)

    def warm_up(self) -> None:
        """Run once on a grey image, so that lazy initialization does not delay the first real one."""
        self(np.full((*self.size, 3), GREY, np.uint8))

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

    def _detect(self, images: Sequence[Image], batch: int) -> list[Detections]:
        """Detect on a few images: their views go through the network `batch` by `batch`."""
        views_of = [self._views(as_pixels(image)) for image in images]
        views = list(chain.from_iterable(views_of))
        step = postprocess if self._tiling is None else locate  # tiles are suppressed together
        found: dict[int, Detections] = {}
        for places in _batches([view.letterbox.target for view in views], self._fixed_batch or batch):
            candidates = self._run([views[place] for place in places])
            for place, each in zip(places, candidates, strict=True):
                found[place] = step(each, views[place].letterbox, self.options, self.names)
        results = [found[place] for place in range(len(views))]
        if self._tiling is not None:
            parts, windows_of = iter(results), [[view.window for view in views] for views in views_of]
            joined = (join(list(islice(parts, len(each))), each) for each in windows_of)
            results = [suppress(each, self.options) for each in joined]
        return [replace(each, source=_source(image)) for each, image in zip(results, images, strict=True)]

    def _views(self, image: NDArray[np.uint8]) -> list["_View"]:
        """Cut (H, W, 3) pixels into views, each with its letterbox: the whole image first."""
        size = image.shape[0], image.shape[1]
        whole = Window(0, 0, size[1], size[0])
        views = []
        for window in [whole] if self._tiling is None else self._tiling.windows(size):
            pixels = window.of(image)
            shape = pixels.shape[0], pixels.shape[1]
            if self.options.rect:
                letterbox = Letterbox.rectangle(shape, self.size, multiple_of_sides(self.info))
            else:
                letterbox = Letterbox.for_policy(self.fit, shape, self.size)
            views.append(_View(pixels, window, letterbox))
        return views

    def _run(self, views: Sequence["_View"]) -> NDArray[np.float32]:
        """Send views of one input shape through the network: candidates (B, K, 5+C).

        The input's memory is reused by later calls of the same thread, because allocating new pages takes
        time.
        """
        if (backend := self._backend) is None:
            raise ValueError("this Detector was closed")
        shape = self._fixed_batch or len(views), *views[0].letterbox.target, 3
        needed = int(np.prod(shape))
        buffer: NDArray[np.uint8] | None = getattr(self._buffers, "pixels", None)
        if buffer is None or len(buffer) < needed:
            buffer = self._buffers.pixels = np.empty(needed, np.uint8)
        inputs = buffer[:needed].reshape(shape)
        for view, out in zip(views, inputs[: len(views)], strict=True):
            view.letterbox.image(view.pixels, out)
        return backend(inputs)[: len(views)]


class _View(NamedTuple):
    """An image, or a part of it, on its way through the network."""

    pixels: NDArray[np.uint8]  # (H, W, 3), shares memory with the image
    window: Window
    letterbox: Letterbox


def _source(image: Image) -> str | PathLike[str] | ref[Any] | None:
    """Return what a notebook can show later: a path, or a weak reference, which keeps no pixels in memory."""
    if isinstance(image, str | PathLike):
        return image
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
