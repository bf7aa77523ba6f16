"""Write detections as annotations, for correction in a labeling tool."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from lookonce._outputs import is_vacant
from lookonce.detections import Detections
from lookonce.runtime.sources import Frame, file_of
from lookonce.runtime.writers import TextWriter, Writer
from lookonce.samples import Problem, Sample, SampleSet

FORMS = ("yolo", "voc", "cvat", "labelme", "labelstudio")
SPLIT = "train"  # corrected annotations are there to learn from


class AnnotationWriter(Writer):
    """A folder in the form of a labeling tool, with links to the images.

    The boxes of all images are kept until `close`, because the formats have files about the whole set; a
    stopped run writes none, so it can be resumed. A folder is never replaced, because people may have
    corrected the boxes of an earlier run. A resumed run keeps it and names the images that it lacks.

    Attributes:
        problems: images that the form cannot hold, after `close`.
    """

    def __init__(
        self, folder: Path, form: str, names: Sequence[str], sure: float = 0.0, kept: int | None = None
    ) -> None:
        """Check the folder.

        Args:
            folder: a new or empty folder.
            form: a name in `FORMS`.
            names: the model's classes.
            sure: score from which a box is written.
            kept: number of results of an earlier run, to be added first; None if it is not resumed.

        Raises:
            AnnotationError: the folder is not empty and the run not resumed, or the form cannot hold a class.
        """
        from lookonce.annotations.write import check_classes, check_target  # every format: if used

        super().__init__(folder)
        self._occupied = kept is not None and not is_vacant(folder)
        if not self._occupied:
            check_target(form, folder)
        check_classes(form, names, folder)
        self.problems: list[Problem] = []
        self._earlier = kept or 0
        self._new = 0
        self._form, self._names, self._sure = form, tuple(names), sure
        self._samples: list[Sample] = []

    def add(self, frame: Frame, detections: Detections) -> None:
        """Keep the boxes of an image file; a page of a TIFF is a problem, since the forms name files."""
        assert frame.path is not None, "annotations are for image files"
        self._new += self._earlier <= 0
        self._earlier -= 1
        if file_of(frame.name) != frame.name:
            what = f"expected one image per file for {self._form}, found a page of several; "
            self.problems.append(Problem(frame.name, what + "split the TIFF into files first"))
            return
        height, width = frame.image.shape[:2]
        sure = detections[detections.scores >= self._sure]
        self._samples.append(
            Sample(frame.path, sure.boxes, sure.labels, size=(height, width), scores=sure.scores)
        )

    def close(self, *, complete: bool) -> None:
        """Write the folder, if the run is complete.

        Raises:
            AnnotationError: it cannot be written.
        """
        from lookonce.annotations.write import write_samples

        if self._occupied and self._new:
            what = f"kept as it is, without {self._new} new images; move it away and resume to write all"
            self.problems.append(Problem(str(self.path), what))
        elif self._samples and complete and not self._occupied:
            found = SampleSet(self._names, self._samples, [], self._form)
            self.problems += write_samples({SPLIT: found}, self._form, self.path)[1]

    def abandon(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: before `close` there is no file."""


class DoubtWriter(TextWriter):
    """A list of the images that have an object with a score too low for its box to be written.

    Attributes:
        count: images listed so far.
    """

    def __init__(self, path: Path, sure: float) -> None:
        super().__init__(path)
        self.count = 0
        self._sure = np.float32(sure)

    def add(self, frame: Frame, detections: Detections) -> None:
        """Append the image's path if one of its objects has such a score."""
        if (detections.scores < self._sure).any():
            self.count += 1
            self._stream.write(f"{frame.name}\n")
