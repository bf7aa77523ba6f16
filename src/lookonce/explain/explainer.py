"""Run an image through a model, and keep every number along the way.

```python
from lookonce.explain import explain

found = explain("model.safetensors", "street.jpg")
print(found.to_dict()["candidates"])
```
"""

from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from lookonce.config import Objective
from lookonce.errors import AnnotationError, ConfigError, ModelFileError
from lookonce.explain.features import tiles_of
from lookonce.explain.heads import fit_in, read_scales
from lookonce.explain.layers import describe_layers
from lookonce.explain.nms import list_candidates, suppress
from lookonce.explain.records import Explanation
from lookonce.explain.trace import Tracer
from lookonce.explain.truth import explain_truth
from lookonce.explain.truth_records import ObjectiveSource
from lookonce.explain.words import stage_words
from lookonce.export.source import FloatModel, read_source
from lookonce.geometry.letterbox import Fit
from lookonce.inputs import Image, as_pixels
from lookonce.metadata import OBJECTIVE
from lookonce.networks import model_path
from lookonce.recipe import complaints
from lookonce.runtime.options import IOU, Conf, DetectOptions
from lookonce.samples import Sample


class Explainer:
    """Explains images with one model.

    Attributes:
        info: description of the model.
        size: (height, width) of the network's input.
        thresholds: score threshold of each class.
    """

    def __init__(
        self,
        source: FloatModel,
        *,
        file: str = "",
        size: int | tuple[int, int] | None = None,
        conf: Conf | None = None,
        iou: float = IOU,
        objective: Objective | None = None,
    ) -> None:
        """Prepare a model that is already read; `Explainer.open` is the usual way.

        Args:
            source: layers, weights and description of the model.
            file: path of the model file; empty if there is none.
            size: side of a square input, or (height, width), in multiples of the coarsest stride; None for
                the model's own size.
            conf: score threshold, or thresholds by class name; a class that is not named keeps the model's
                threshold. None for the thresholds in the model file, or 0.25 if it has none.
            iou: IoU threshold of NMS; a box that overlaps a better one of its class by more is dropped.
            objective: settings of assignment and loss; None for those recorded in the model file, or for
                those of the classic recipe if it has none.

        Raises:
            ConfigError: the size is not a multiple of the coarsest stride, a threshold is outside 0 to 1, or
                a class is unknown.
            ModelFileError: the layers do not fit together at this size, the recorded settings are damaged, or
                the network is of a kind that cannot be explained.
        """
        options = DetectOptions(conf=conf, iou=iou).for_model(source.info)
        self.info = source.info
        self.thresholds = options.thresholds_of(source.info.names)
        height, width = self.size = (
            source.info.input_size if size is None else (size, size) if isinstance(size, int) else size
        )
        coarsest = max(source.info.strides)
        if min(height, width) <= 0 or height % coarsest or width % coarsest:
            raise ConfigError(
                f"size: expected multiples of {coarsest}, found {height}x{width} (height x width)"
            )
        recorded = source.info.training.get(OBJECTIVE)
        self._objective_source: ObjectiveSource = "classic" if recorded is None else "model"
        if objective is not None:
            self._objective_source = "given"
        try:
            self._objective = objective or Objective.model_validate(recorded or {})
        except ValidationError as error:
            damage = complaints(error, Objective, OBJECTIVE)
            raise ModelFileError(f"{file}: the model description is damaged: {damage}") from error
        self._file = file
        self._iou = iou
        self._tracer = Tracer(source, self.size)
        for scale in self._tracer.network.scales:
            if scale.activated or not scale.whole or scale.section.parents:
                raise ModelFileError(
                    f"{file}: expected square cells of whole pixels, no tree of classes, and with new_coords "
                    "a logistic convolution before the [yolo]; lookonce detects with this network, but "
                    "cannot explain it"
                )

    @classmethod
    def open(
        cls,
        model: str | Path,
        *,
        size: int | tuple[int, int] | None = None,
        conf: Conf | None = None,
        iou: float = IOU,
        objective: Objective | None = None,
        fit: Fit | None = None,
        weights: str | Path | None = None,
    ) -> Self:
        """Read a float model: `.safetensors`, `.cfg` with its weights, or `.onnx` that lookonce exported.

        Args:
            model: path of the model, or `coco`, the network in the package.
            size: side of a square input, or (height, width); None for the model's own size.
            conf: score threshold, or thresholds by class name; None for the thresholds in the model file, or
                0.25 if it has none.
            iou: IoU threshold of NMS.
            objective: settings of assignment and loss; None for those recorded in the model file, or for
                those of the classic recipe if it has none.
            fit: how images are fitted to the input size, `letterbox` or `stretch`; None for the model's own.
            weights: weights of a `.cfg`; None for the file beside it.

        Raises:
            ModelFileError: there is no such file, it is damaged, or its network cannot be read or explained.
            MissingExtraError: the model is a `.safetensors`, and torch is not installed.
            ConfigError: a size, threshold or class name is not possible for this model.
        """
        source = read_source(model_path(model), weights)
        if fit is not None:
            source = replace(source, info=replace(source.info, fit=fit))
        return cls(source, file=str(model), size=size, conf=conf, iou=iou, objective=objective)

    def __call__(self, image: Image, truth: Sample | None = None, *, features: bool = False) -> Explanation:
        """Explain one image.

        Args:
            image: image in any form that a `Detector` takes; see `inputs.Image`.
            truth: annotation of the image, with the model's class numbers; None for none.
            features: whether to keep thumbnails of feature maps.

        Raises:
            ImageError: the image cannot be read.
            AnnotationError: the annotation has a class number that the model does not have.
        """
        names = self.info.names
        if truth is not None:
            unknown = truth.labels[(truth.labels < 0) | (truth.labels >= len(names))].tolist()
            if unknown:
                raise AnnotationError(
                    f"{truth.path}: expected class numbers from 0 to {len(names) - 1}, found {unknown[0]}"
                )
        file = Path(image) if isinstance(image, str | PathLike) else None
        entry = fit_in(as_pixels(image, self.info.values), self.size, self.info.fit, file)
        network, run = self._tracer.network, self._tracer.run(entry.pixels)
        outputs = self._tracer.outputs(entry.pixels) if features else {}
        timing, seconds = self._tracer.timing()
        scales = read_scales(network, run)
        candidates = list_candidates(run.candidates, scales, entry.letterbox, min(self.thresholds))
        nms = suppress(candidates, self.thresholds, self._iou)
        explained_truth = None
        if truth is not None:
            explained_truth = explain_truth(
                truth, entry, scales, candidates, nms, names, self._objective, self._objective_source
            )
        return Explanation(
            model=self._file,
            info=self.info,
            input=entry,
            layers=describe_layers(network, self.info.architecture, seconds, timing.seconds),
            timing=timing,
            features=tuple(tiles_of(*each) for each in sorted(outputs.items())),
            scales=scales,
            candidates=candidates,
            nms=nms,
            truth=explained_truth,
            words=stage_words(self.info.architecture),
        )


def explain(
    model: str | Path,
    image: Image,
    truth: Sample | None = None,
    *,
    size: int | tuple[int, int] | None = None,
    conf: Conf | None = None,
    iou: float = IOU,
    features: bool = False,
) -> Explanation:
    """Explain one image. For several images, use `Explainer`, which reads the model only once.

    Args:
        model: path of the model, or `coco`, the network in the package.
        image: image in any form that a `Detector` takes; see `inputs.Image`.
        truth: annotation of the image, with the model's class numbers; None for none.
        size: side of a square input, or (height, width); None for the model's own size.
        conf: score threshold, or thresholds by class name; None for the thresholds in the model file, or 0.25
            if it has none.
        iou: IoU threshold of NMS.
        features: whether to keep thumbnails of feature maps.

    Raises:
        LookonceError: the model, the image or an option cannot be used.
    """
    return Explainer.open(model, size=size, conf=conf, iou=iou)(image, truth, features=features)
