"""One image through one model, and everything on the way kept.

```python
from lookonce.explain import explain

found = explain("model.safetensors", "street.jpg")
print(found.to_dict()["candidates"])
```
"""

from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from lookonce.config import Objective, complaints
from lookonce.errors import ConfigError, ImageError, ModelFileError
from lookonce.explain.features import tiles_of
from lookonce.explain.heads import fit_in, read_scales
from lookonce.explain.layers import describe_layers
from lookonce.explain.records import Explanation
from lookonce.explain.suppression import list_candidates, suppress
from lookonce.explain.trace import Tracer
from lookonce.explain.truth import check_truth, explain_truth
from lookonce.explain.words import stage_words
from lookonce.export.source import Source, read_source
from lookonce.images import read_image
from lookonce.metadata import OBJECTIVE, ModelInfo
from lookonce.runtime.options import CONF, IOU
from lookonce.samples import Sample

Image = NDArray[np.uint8] | str | Path


class Explainer:
    """Explains images, one after the other, with one model.

    Attributes:
        info: what the model says of itself.
        size: (height, width) of the network's input.
    """

    def __init__(
        self,
        source: Source,
        *,
        file: str = "",
        size: int | tuple[int, int] | None = None,
        confidence: float = CONF,
        iou: float = IOU,
        objective: Objective | None = None,
    ) -> None:
        """Take a model that is already read; most callers want `Explainer.open`.

        Args:
            source: layers, weights and description.
            file: where it came from.
            size: side of a square input, or (height, width), multiples of the coarsest stride; None: as the
                model was made.
            confidence: a detection's score lies above it.
            iou: of two boxes whose IoU lies above it, the better one stays.
            objective: by which objects are assigned and losses computed; None: the one that the model learnt
                by, where its file says so, else the write-up's.

        Raises:
            ConfigError: a size that is no such multiple, or a threshold outside 0 to 1.
            ModelFileError: the network does not fit together at this size, or what the model learnt by is
                damaged.
        """
        for setting, value in (("confidence", confidence), ("iou", iou)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{setting}: expected a number from 0 to 1, found {value}")
        self.info = source.info
        self.size = _checked_size(size, source.info)
        self._file = file
        self._confidence, self._iou = confidence, iou
        self._objective = objective or _objective_of(source.info, file)
        self._tracer = Tracer(source, self.size)

    @classmethod
    def open(
        cls,
        model: str | Path,
        *,
        size: int | tuple[int, int] | None = None,
        confidence: float = CONF,
        iou: float = IOU,
        objective: Objective | None = None,
    ) -> Self:
        """Read a float model: `.safetensors`, `.cfg` with its weights, or `.onnx` of one of our networks.

        Args:
            model: its file.
            size: see the class, as for all that follow.
            confidence: likewise.
            iou: likewise.
            objective: likewise.

        Raises:
            ModelFileError: no such file, damaged, or a model whose layers cannot be had from it.
            MissingExtraError: a `.safetensors`, and torch is not installed.
            ConfigError: see the class.
        """
        source = read_source(Path(model))
        return cls(source, file=str(model), size=size, confidence=confidence, iou=iou, objective=objective)

    def __call__(self, image: Image, truth: Sample | None = None, *, features: bool = False) -> Explanation:
        """Explain one image.

        Args:
            image: a file, or RGB pixels (H, W, 3) uint8.
            truth: its annotation, class numbers as in the model.
            features: keep thumbnails of feature maps.

        Raises:
            ImageError: the image cannot be read, or the array is no RGB image.
            AnnotationError: a class number that the model does not have.
        """
        if truth is not None:
            check_truth(truth, self.info.names)
        pixels, file = _pixels(image)
        entry = fit_in(pixels, self.size, self.info.fit, file)
        network, run = self._tracer.network, self._tracer.run(entry.pixels)
        outputs = self._tracer.outputs(entry.pixels) if features else {}
        timing, seconds = self._tracer.timing()
        scales = read_scales(network, run)
        candidates = list_candidates(run.candidates, scales, entry.letterbox, self._confidence)
        suppression = suppress(candidates, self._confidence, self._iou)
        return Explanation(
            model=self._file,
            info=self.info,
            input=entry,
            layers=describe_layers(network, self.info.architecture, seconds, timing.seconds),
            timing=timing,
            features=tuple(tiles_of(*each) for each in sorted(outputs.items())),
            scales=scales,
            candidates=candidates,
            suppression=suppression,
            truth=None
            if truth is None
            else explain_truth(
                truth, entry, scales, candidates, suppression, self.info.names, self._objective
            ),
            words=stage_words(self.info.architecture),
        )


def explain(
    model: str | Path,
    image: Image,
    truth: Sample | None = None,
    *,
    size: int | tuple[int, int] | None = None,
    confidence: float = CONF,
    iou: float = IOU,
    features: bool = False,
) -> Explanation:
    """Explain one image; `Explainer` explains several without reading the model again.

    Args:
        model: its file; see `Explainer.open`.
        image: a file, or RGB pixels (H, W, 3) uint8.
        truth: its annotation, class numbers as in the model.
        size: side of the input, or (height, width); None: as the model was made.
        confidence: a detection's score lies above it.
        iou: of two boxes whose IoU lies above it, the better one stays.
        features: keep thumbnails of feature maps.

    Raises:
        LookonceError: as `Explainer.open` and `Explainer`.
    """
    return Explainer.open(model, size=size, confidence=confidence, iou=iou)(image, truth, features=features)


def _objective_of(info: ModelInfo, file: str) -> Objective:
    """What the model learnt by; the write-up's where it does not say."""
    try:
        return Objective.model_validate(info.training.get(OBJECTIVE, {}))
    except ValidationError as error:
        damage = complaints(error, Objective, OBJECTIVE)
        raise ModelFileError(f"{file}: the model description is damaged: {damage}") from error


def _pixels(image: Image) -> tuple[NDArray[np.uint8], Path | None]:
    """(H, W, 3) uint8 RGB, and the file it came from."""
    if isinstance(image, str | Path):
        return read_image(Path(image)), Path(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ImageError(f"expected an RGB array (H, W, 3) of uint8, found {image.shape} of {image.dtype}")
    return image, None


def _checked_size(size: int | tuple[int, int] | None, info: ModelInfo) -> tuple[int, int]:
    if size is None:
        return info.input_size
    height, width = (size, size) if isinstance(size, int) else size
    coarsest = max(info.strides)
    if min(height, width) <= 0 or height % coarsest or width % coarsest:
        raise ConfigError(f"size: expected multiples of {coarsest}, found {width} wide and {height} high")
    return height, width
