"""A trained model looks at the labels: the doctor's second opinion."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from lookonce.detections import Detections
from lookonce.doctor.findings import Finding
from lookonce.doctor.labels import ANYTHING, doubts
from lookonce.doctor.network import Network
from lookonce.errors import AnnotationError
from lookonce.runtime.detector import Detector
from lookonce.samples import Sample, SampleSet


@dataclass(frozen=True, slots=True)
class Doubts:
    """What a detector doubts about the labels of a sample.

    Attributes:
        detector: opened to give even its weakest hints.
        file: of the model.
    """

    detector: Detector
    file: Path

    @classmethod
    def open(cls, file: Path, size: tuple[int, int] | None) -> Self:
        """Open a model file; close it by leaving the block.

        Raises:
            ModelFileError: not a model.
            ConfigError: a size that it cannot take.
        """
        return cls(Detector.open(file, size=size, conf=ANYTHING), file)

    @property
    def network(self) -> Network:
        """The detector's own anchors and strides."""
        info = self.detector.info
        return Network(info.architecture, self.detector.size, info.anchors, info.strides, info.fit)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detector.close()

    def __call__(self, found: SampleSet, sample: Sample) -> Iterator[Finding]:
        """Detect on one image and compare.

        Raises:
            AnnotationError: model and data have no class in common.
        """
        return doubts(found, sample, self._in_classes_of(found, self.detector(sample.path)))

    def _in_classes_of(self, found: SampleSet, detections: Detections) -> Detections:
        """Detections with the data's class numbers; classes that the data does not know are left out."""
        known = [found.names.index(name) if name in found.names else -1 for name in self.detector.names]
        if max(known) < 0:
            raise AnnotationError(
                f"{self.file}: expected a model with some of the classes {', '.join(found.names[:5])}, "
                f"found {', '.join(self.detector.names[:5])}"
            )
        labels = np.array(known, np.int64)[detections.labels]
        keep = labels >= 0
        return replace(
            detections,
            boxes=detections.boxes[keep],
            scores=detections.scores[keep],
            labels=labels[keep],
            names=found.names,
        )
