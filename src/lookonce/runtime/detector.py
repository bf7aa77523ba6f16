"""The Detector: a picture in, `Detections` out, whatever engine runs the network.

```python
from lookonce import Detector

with Detector.open("model.onnx") as detector:
    for name, score, box in detector("street.jpg"):
        print(name, score, box)
```

Legend: **B** pictures in a batch, **K** candidates, **C** classes.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from threading import local
from types import TracebackType
from typing import Any, Self, get_args

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.errors import ConfigError, ImageError
from lookonce.geometry.letterbox import GREY, Letterbox
from lookonce.images import decode_image, read_image
from lookonce.metadata import Fit, ModelInfo
from lookonce.runtime.backends import Backend, open_backend
from lookonce.runtime.postprocess import CONFIDENCE, IOU, postprocess

Image = NDArray[np.uint8] | str | Path | bytes  # RGB pixels (H, W, 3), a file, or a file's content

COARSEST_STRIDE = 32  # of all three networks: an input's sides must be multiples of it


class Detector:
    """Finds objects in pictures. May be called from several threads at once.

    Attributes:
        info: what the model file says of itself.
        size: (height, width) of the network's input.
        fit: how a picture gets to that size.
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
        fit: Fit | None = None,
    ) -> None:
        """Wrap a backend that is already open; most callers want `Detector.open`.

        Args:
            backend: the network and its decoding.
            size: side of a square input, or (height, width); multiples of 32. None: as the model was made.
            confidence: a detection's score lies above it.
            iou: of two boxes whose IoU lies above it, the better one stays.
            classes: names or numbers of the classes wanted; None for all.
            class_agnostic: one place holds one object, whatever its class.
            fit: `letterbox` or `stretch`; None: as the model was made.

        Raises:
            ConfigError: a size that is no multiple of 32, a threshold outside 0 to 1, an unknown class or
                fit.
        """
        self.info = backend.info
        self.size = _checked_size(size, backend.info)
        self._backend = backend
        self.fit: Fit = _checked_fit(fit or self.info.fit)
        self._letterbox = Letterbox.stretch if self.fit == "stretch" else Letterbox.fit
        self._confidence = _checked_share("confidence", confidence)
        self._iou = _checked_share("iou", iou)
        self._classes = None if classes is None else _class_numbers(classes, backend.info.names)
        self._class_agnostic = class_agnostic
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
        fit: Fit | None = None,
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
            fit: likewise.
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
                fit=fit,
            )
        except ConfigError:
            backend.close()
            raise

    @property
    def names(self) -> tuple[str, ...]:
        """The class names; labels index into them."""
        return self.info.names

    def __call__(self, image: Image) -> Detections:
        """Detect on one picture: RGB pixels (H, W, 3) uint8, a file, or a file's content.

        Raises:
            ImageError: the picture cannot be read, or the array is no RGB picture.
        """
        return self._detect([image])[0]

    def detect_many(self, images: Iterable[Image], *, batch: int = 8) -> Iterator[Detections]:
        """Detect on pictures of any sizes, some at a time, lazily: one result for each, in order.

        Args:
            images: any number of them; only one batch is held at a time.
            batch: how many go through the network together.

        Raises:
            ImageError: as for a single picture, when its batch comes.
        """
        waiting = iter(images)
        while group := list(islice(waiting, batch)):
            yield from self._detect(group)

    def warm_up(self) -> None:
        """Run once on a grey picture, so that the first real one does not pay for what is set up lazily."""
        self(np.full((*self.size, 3), GREY, np.uint8))

    def close(self) -> None:
        """Free what the engine holds; detecting afterwards is an error."""
        self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _detect(self, images: Sequence[Image]) -> list[Detections]:
        """One batch, all at once."""
        pictures = [_pixels(image) for image in images]
        letterboxes = [self._letterbox(picture.shape[:2], self.size) for picture in pictures]
        inputs = self._input_buffer(len(pictures))
        for picture, letterbox, place in zip(pictures, letterboxes, inputs, strict=True):
            letterbox.image(picture, out=place)
        candidates = self._backend(inputs)  # (B, K, 5+C)
        return [self._finish(*each) for each in zip(candidates, letterboxes, strict=True)]

    def _input_buffer(self, count: int) -> NDArray[np.uint8]:
        """(count, height, width, 3), reused by later calls of the same thread: fresh pages cost time."""
        buffer: NDArray[np.uint8] | None = getattr(self._buffers, "batch", None)
        if buffer is None or len(buffer) < count:
            buffer = self._buffers.batch = np.empty((count, *self.size, 3), np.uint8)
        return buffer[:count]

    def _finish(self, candidates: NDArray[np.float32], letterbox: Letterbox) -> Detections:
        return postprocess(
            candidates,
            letterbox,
            confidence=self._confidence,
            iou=self._iou,
            classes=self._classes,
            class_agnostic=self._class_agnostic,
            names=self.names,
        )


def _pixels(image: Image) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of whatever a caller may hand over."""
    if isinstance(image, bytes):
        return decode_image(image, f"picture of {len(image)} bytes")
    if isinstance(image, str | Path):
        return read_image(Path(image))
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ImageError(f"expected an RGB array (H, W, 3) of uint8, found {image.shape} of {image.dtype}")
    return image


def _checked_size(size: int | tuple[int, int] | None, info: ModelInfo) -> tuple[int, int]:
    if size is None:
        return info.input_size
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) <= 0 or height % COARSEST_STRIDE or width % COARSEST_STRIDE:
        raise ConfigError(
            f"size: expected multiples of {COARSEST_STRIDE}, found {width} wide and {height} high"
        )
    return height, width


def _checked_share(setting: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ConfigError(f"{setting}: expected a number from 0 to 1, found {value}")
    return value


def _checked_fit(fit: Fit) -> Fit:
    if fit not in get_args(Fit):
        raise ConfigError(f"fit: expected {' or '.join(get_args(Fit))}, found {fit!r}")
    return fit


def _class_numbers(classes: Collection[str | int], names: tuple[str, ...]) -> tuple[int, ...]:
    """Numbers of classes given by name or number; a text of digits is a number unless it is a name."""
    numbers = {str(number): number for number in range(len(names))}
    numbers |= {name: number for number, name in enumerate(names)}
    found = []
    for wanted in classes:
        number = numbers.get(wanted) if isinstance(wanted, str) else wanted
        if number is None or not 0 <= number < len(names):
            raise ConfigError(f"classes: expected some of {', '.join(names)}; found {wanted!r}")
        found.append(int(number))
    return tuple(found)
