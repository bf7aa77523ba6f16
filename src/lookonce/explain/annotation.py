"""Find the annotation of one image in an annotated data set."""

import os
import re
from pathlib import Path

from lookonce._counted import counted
from lookonce.annotations import load_samples
from lookonce.errors import AnnotationError
from lookonce.evaluate.classes import SharedClasses, listed
from lookonce.samples import Sample


def find_truth(
    data: Path,
    image: Path,
    names: tuple[str, ...],
    *,
    split: str | None = None,
    data_names: Path | None = None,
) -> tuple[Sample, tuple[str, ...]]:
    """Find the annotation of one image, and convert its class numbers to the model's.

    The image is looked up by its path, then by its file name.

    Args:
        data: annotations in any format.
        image: path of the image.
        names: class names of the model.
        split: split to search; None for all of them.
        data_names: file with class names, for annotations that only have class numbers.

    Returns:
        The annotation, and remarks about skipped objects and other problems of this image, one sentence each.

    Raises:
        AnnotationError: the data cannot be read, or does not have exactly one image of this name.
        ConfigError: the model and the data have no class in common.
    """
    annotated = load_samples(data, split, data_names)
    wanted = os.path.realpath(image)
    found = [sample for sample in annotated.samples if os.path.realpath(sample.path) == wanted]
    found = found or [sample for sample in annotated.samples if sample.path.name == image.name]
    if len(found) > 1:
        raise AnnotationError(
            f"{data}: expected one image named {image.name}, found {len(found)}: "
            f"{listed([str(sample.path) for sample in found])}; give the image by the path it has there"
        )
    if not found:
        raise AnnotationError(
            f"{data}: expected an image {image} or one named {image.name}, found none among "
            f"{len(annotated.samples)}: {listed([sample.path.name for sample in annotated.samples])}"
        )
    sample, shared = found[0], SharedClasses.match(names, annotated.names, data)
    known = shared.sample(sample, to=names)
    image_name = re.compile(rf"(?<![\w-]){re.escape(sample.path.stem)}(?![\w-])")
    remarks = [str(problem) for problem in annotated.problems if image_name.search(problem.place)]
    unknown = sorted(set(shared.unknown) & {annotated.names[label] for label in sample.labels.tolist()})
    if unknown:
        remarks.append(
            f"{len(sample.labels) - len(known.labels)} of {counted(len(sample.labels), 'object')} skipped: "
            f"the model does not know {listed(unknown)}"
        )
    return known, tuple(remarks)
