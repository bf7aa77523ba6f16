"""Write detections as annotations, for correction in a labeling tool."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lookonce._outputs import is_vacant
from lookonce.detections import BOX_DIGITS, SCORE_DIGITS, Detections
from lookonce.runtime.sources import Frame, Sources
from lookonce.runtime.writers import TextWriter, Writer
from lookonce.samples import Problem, Sample, SampleSet

FORMS = ("yolo", "voc", "cvat", "labelme", "labelstudio")
SPLIT = "train"  # corrected annotations are for training


class AnnotationWriter(Writer):
    """Writes a folder in the format of a labeling tool, with links to the images.

    All boxes are kept in memory until `close`, because some formats have files about the whole set. A stopped
    run writes nothing, so it can be resumed. An existing folder is never replaced, because someone may have
    corrected its boxes; a resumed run keeps it and reports how many new images it lacks.

    Attributes:
        problems: images that the format cannot hold, and after `close` other problems of writing.
    """

    def __init__(
        self,
        folder: Path,
        form: str,
        names: Sequence[str],
        sources: Sources,
        sure: float = 0.0,
        kept: int | None = None,
    ) -> None:
        """Check the folder.

        Args:
            folder: a new or empty folder.
            form: a name in `FORMS`.
            names: class names of the model.
            sources: all sources of the run, in whose order images are written.
            sure: lowest score of a box to write.
            kept: number of results of an earlier run, to be added first; None if the run is not resumed.

        Raises:
            AnnotationError: the folder is not empty and the run is not resumed, or the format cannot hold a
                class name.
        """
        from lookonce.annotations.write import check_classes, check_target  # slow: it imports every format

        super().__init__(folder)
        self._occupied = kept is not None and not is_vacant(folder)
        if not self._occupied:
            check_target(form, folder)
        check_classes(form, names, folder)
        self.problems: list[Problem] = []
        self._earlier = kept or 0
        self._new = 0
        self._form, self._names, self._sources, self._sure = form, tuple(names), sources, sure
        self._samples: list[Sample] = []

    def add(self, frame: Frame, detections: Detections) -> None:
        """Keep the boxes of an image file; record a problem for a page of a TIFF, as formats name files."""
        assert frame.path is not None, "annotations are for image files"
        is_new = self._earlier <= 0
        self._earlier -= 1
        if frame.name != str(frame.path):
            what = f"expected one image per file for {self._form}, found a page of several; "
            self.problems.append(Problem(frame.name, what + "split the TIFF into files first"))
            return
        self._new += is_new
        height, width = frame.image.shape[:2]
        detections = as_read_back(detections)
        sure = detections[detections.scores >= self._sure]
        self._samples.append(
            Sample(frame.path, sure.boxes, sure.labels, size=(height, width), scores=sure.scores)
        )

    def close(self, *, complete: bool) -> None:
        """Write the folder if the run is complete.

        Raises:
            AnnotationError: the folder cannot be written.
        """
        from lookonce.annotations.write import write_samples

        if self._occupied and self._new:
            what = f"kept as it is, without {self._new} new images; move it away and resume to write all"
            self.problems.append(Problem(str(self.path), what))
        elif self._samples and complete and not self._occupied:
            self._samples.sort(key=lambda sample: self._sources.number_of(str(sample.path)))
            found = SampleSet(self._names, self._samples, [], self._form)
            self.problems += write_samples({SPLIT: found}, self._form, self.path)[1]

    def abandon(self) -> None:
        """Do nothing: before `close` there is no file."""


class DoubtWriter(TextWriter):
    """Writes a list of the images with at least one detection below the lowest score of a written box.

    Attributes:
        count: number of images listed so far.
    """

    def __init__(self, path: Path, sure: float) -> None:
        super().__init__(path)
        self.count = 0
        self._sure = np.float32(sure)

    def add(self, frame: Frame, detections: Detections) -> None:
        """Append the image's path if a detection's score is below the limit."""
        if (as_read_back(detections).scores < self._sure).any():
            self.count += 1
            self._stream.write(f"{frame.name}\n")


def as_read_back(detections: Detections) -> Detections:
    """Round boxes and scores as in the JSON results, so that a resumed run writes the same annotations."""
    boxes = [[round(side, BOX_DIGITS) for side in box] for box in detections.boxes.tolist()]
    scores = [round(score, SCORE_DIGITS) for score in detections.scores.tolist()]
    return replace(
        detections, boxes=np.array(boxes, np.float32).reshape(-1, 4), scores=np.array(scores, np.float32)
    )
