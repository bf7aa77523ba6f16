"""The Detector: an image in, `Detections` out, whatever engine runs the network.

```python
from lookonce import Detector

with Detector.open("model.onnx") as detector:
    for name, score, box in detector("street.jpg"):
        print(name, score, box)
```

Legend: **B** images in a batch, **K** candidates, **C** classes.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from threading import local
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.errors import ConfigError, ImageError
from lookonce.geometry.letterbox import GREY, Letterbox
from lookonce.images import decode_image, read_image
from lookonce.metadata import Fit
from lookonce.runtime.backends import Backend, open_backend
from lookonce.runtime.options import (
    checked_fit,
    checked_rect,
    checked_share,
    checked_size,
    class_numbers,
    multiple_of_sides,
)
from lookonce.runtime.postprocess import CONFIDENCE, IOU, locate, suppress
from lookonce.runtime.tiles import OVERLAP, Tiles, Tiling, Window, join

Image = NDArray[np.uint8] | str | Path | bytes  # RGB pixels (H, W, 3), a file, or a file's content


class Detector:
    """Finds objects in images. May be called from several threads at once.

    Attributes:
        info: what the model file says of itself.
        size: (height, width) of the network's input; with `rect`, the largest.
        fit: how an image gets to that size.
        rect: whether padding is left out.
        tiling: how images are cut into tiles; None: they are not.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        size: int | tuple[int, int] | None = None,
        confidence: float = CONFIDENCE,
        iou: float = IOU,
        classes: Collection[str | int] | None = None,
        class_agnostic: bool = False,
        soft_nms: bool = False,
        fit: Fit | None = None,
        rect: bool = False,
        tiles: Tiles | None = None,
        overlap: float = OVERLAP,
    ) -> None:
        """Wrap a backend that is already open; most callers want `Detector.open`.

        Args:
            backend: the network and its decoding.
            size: side of a square input, or (height, width); multiples of 32. None: as the model was made.
            confidence: a detection's score lies above it.
            iou: of two boxes whose IoU lies above it, the better one stays.
            classes: names or numbers of the classes wanted; None for all.
            class_agnostic: one place holds one object, whatever its class.
            soft_nms: in place of `iou`: overlapping boxes lose score instead of being dropped.
            fit: `letterbox` or `stretch`; None: as the model was made.
            rect: leave out the letterbox's padding but for what makes multiples of 32: less work on
                images that are wider or higher than the input.
            tiles: look at parts of each image too, for small objects: side of a square tile in pixels of
                the image, or (rows, columns).
            overlap: share of a tile's side that the next tile has too.

        Raises:
            ConfigError: a size that is no multiple of 32 or not that of a file with a fixed one, a threshold
                outside 0 to 1, an unknown class or fit, an impossible tiling, or `rect` where the input
                has no padding or no freedom.
        """
        self.info = backend.info
        self.size = checked_size(size, backend)
        self._backend: Backend | None = backend
        self._fixed_batch = backend.input_shape[0]
        self.fit: Fit = checked_fit(fit or self.info.fit)
        self.rect = checked_rect(rect, self.fit, backend)
        self.tiling = None if tiles is None else Tiling(tiles, overlap)
        self._confidence = checked_share("confidence", confidence)
        self._iou = checked_share("iou", iou)
        self._classes = None if classes is None else class_numbers(classes, backend.info.names)
        self._class_agnostic = class_agnostic
        self._soft_floor = self._confidence if soft_nms else None
        self._buffers = local()

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        size: int | tuple[int, int] | None = None,
        confidence: float = CONFIDENCE,
        iou: float = IOU,
        classes: Collection[str | int] | None = None,
        class_agnostic: bool = False,
        soft_nms: bool = False,
        fit: Fit | None = None,
        rect: bool = False,
        tiles: Tiles | None = None,
        overlap: float = OVERLAP,
        **backend_options: Any,
    ) -> Self:
        """Open a model file; its suffix decides what runs it.

        Args:
            path: any model file that lookonce reads.
            size: see the class, as for all that follow.
            confidence: likewise.
            iou: likewise.
            classes: likewise.
            class_agnostic: likewise.
            soft_nms: likewise.
            fit: likewise.
            rect: likewise.
            tiles: likewise.
            overlap: likewise.
            **backend_options: handed to the backend; `threads` is understood by all.

        Raises:
            ModelFileError: no such file, damaged, or not a model.
            MissingExtraError: what runs this kind of file is not installed.
            ConfigError: see the class.
        """
        backend = open_backend(Path(path), **backend_options)
        try:
            return cls(
                backend,
                size=size,
                confidence=confidence,
                iou=iou,
                classes=classes,
                class_agnostic=class_agnostic,
                soft_nms=soft_nms,
                fit=fit,
                rect=rect,
                tiles=tiles,
                overlap=overlap,
            )
        except ConfigError:
            backend.close()
            raise

    @property
    def names(self) -> tuple[str, ...]:
        """The class names; labels index into them."""
        return self.info.names

    def __call__(self, image: Image) -> Detections:
        """Detect on one image: RGB pixels (H, W, 3) uint8, a file, or a file's content.

        Tiles go through the network one by one: on a processor that is as fast as several together, and
        takes the memory of one. On an accelerator use `detect_many`.

        Raises:
            ImageError: the image cannot be read, or the array is no RGB image.
            ValueError: the detector was closed.
        """
        return self._detect([image], batch=1)[0]

    def detect_many(self, images: Iterable[Image], *, batch: int = 8) -> Iterator[Detections]:
        """Detect on images of any sizes, some at a time, lazily: one result for each, in order.

        Args:
            images: any number of them; only one batch is held at a time.
            batch: how many go through the network together, tiles counted one by one. With `rect` only
                inputs of one shape do.

        Raises:
            ImageError: as for a single image, when its batch comes.
            ValueError: the detector was closed, or a batch of none.
        """
        if batch < 1:
            raise ValueError(f"batch: expected 1 or more, found {batch}")
        waiting = iter(images)
        while group := list(islice(waiting, batch)):
            yield from self._detect(group, batch)

    def warm_up(self) -> None:
        """Run once on a grey image, so that the first real one does not pay for what is set up lazily."""
        self(np.full((*self.size, 3), GREY, np.uint8))

    def close(self) -> None:
        """Free what the engine holds; detecting afterwards is an error, closing again is not.

        A detection under way in another thread ends in its result or in that error.
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
        """A few images, each in one look or several, the looks `batch` by `batch` through the network."""
        looks_of = [self._looks(_pixels(image)) for image in images]
        looks = list(chain.from_iterable(looks_of))
        found: dict[int, Detections] = {}
        for alike in _batches([look.letterbox.target for look in looks], self._fixed_batch or batch):
            found |= zip(alike, self._run([looks[place] for place in alike]), strict=True)
        in_order = (found[place] for place in range(len(looks)))
        return [self._finish(looks, list(islice(in_order, len(looks)))) for looks in looks_of]

    def _looks(self, image: NDArray[np.uint8]) -> list["_Look"]:
        """The whole image, and its tiles where wanted."""
        size = image.shape[0], image.shape[1]
        windows = [Window(0, 0, size[1], size[0])] if self.tiling is None else self.tiling.windows(size)
        return [_Look(part := window.of(image), window, self._letterbox(part), size) for window in windows]

    def _letterbox(self, image: NDArray[np.uint8]) -> Letterbox:
        size = image.shape[0], image.shape[1]
        if self.rect:
            return Letterbox.rectangle(size, self.size, multiple_of_sides(self.info))
        return (Letterbox.stretch if self.fit == "stretch" else Letterbox.fit)(size, self.size)

    def _run(self, looks: Sequence["_Look"]) -> list[Detections]:
        """Through the network, all of one input shape: what each holds before suppression, in its pixels."""
        backend = self._backend
        if backend is None:
            raise ValueError("this Detector was closed")
        inputs = self._input_buffer(self._fixed_batch or len(looks), looks[0].letterbox.target)
        for look, place in zip(looks, inputs[: len(looks)], strict=True):
            look.letterbox.image(look.pixels, out=place)
        candidates = backend(inputs)[: len(looks)]  # (B, K, 5+C)
        return [
            locate(
                each,
                look.letterbox,
                confidence=self._confidence,
                classes=self._classes,
                names=self.names,
            )
            for each, look in zip(candidates, looks, strict=True)
        ]

    def _input_buffer(self, count: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
        """(count, height, width, 3), reused by later calls of the same thread: fresh pages cost time."""
        needed = count * shape[0] * shape[1] * 3
        buffer: NDArray[np.uint8] | None = getattr(self._buffers, "pixels", None)
        if buffer is None or len(buffer) < needed:
            buffer = self._buffers.pixels = np.empty(needed, np.uint8)
        return buffer[:needed].reshape(count, *shape, 3)

    def _finish(self, looks: Sequence["_Look"], found: Sequence[Detections]) -> Detections:
        """One image's result."""
        windows, size = [look.window for look in looks], looks[0].image_size
        together = found[0] if len(found) == 1 else join(found, windows, size)
        return suppress(together, self._iou, class_agnostic=self._class_agnostic, soft_floor=self._soft_floor)


class _Look(NamedTuple):
    """A part of an image, or the whole, on its way through the network."""

    pixels: NDArray[np.uint8]  # (H, W, 3), a view
    window: Window
    letterbox: Letterbox
    image_size: tuple[int, int]  # (height, width) of the whole


def _batches(shapes: Sequence[tuple[int, int]], batch: int) -> Iterator[list[int]]:
    """Places of equal shapes, at most `batch` at a time, in order of their first.

    One shape padded to another would do the work that `rect` is there to save.
    """
    alike: dict[tuple[int, int], list[int]] = {}
    for place, shape in enumerate(shapes):
        alike.setdefault(shape, []).append(place)
    for places in alike.values():
        for start in range(0, len(places), batch):
            yield places[start : start + batch]


def _pixels(image: Image) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of whatever a caller may hand over."""
    if isinstance(image, bytes):
        return decode_image(image, f"image of {len(image)} bytes")
    if isinstance(image, str | Path):
        return read_image(Path(image))
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ImageError(f"expected an RGB array (H, W, 3) of uint8, found {image.shape} of {image.dtype}")
    return image
