"""Add classes to a trained model, with images in which only the new classes are annotated.

    training images   -> the old model's maps replace missing annotations, see `imitate.continuation`
    validation images -> the old model's detections that reach its score thresholds become boxes, unless they
                         overlap an annotated box

For the old classes, the AP in the log is thus measured against the old model. Its boxes, and the old model
itself, extended by new classes that it never predicts, are stored in the run folder for a resumed run.
"""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console

from lookonce._counted import counted
from lookonce._files import read_text, write_text
from lookonce._terminal import say
from lookonce.config import TrainSettings
from lookonce.detections import Detections
from lookonce.errors import AnnotationError, ConfigError, ModelFileError
from lookonce.geometry.pairs import overlapping_pairs
from lookonce.model.darknet_io import head_rows
from lookonce.model.files import load_model, save_model
from lookonce.networks import NETWORKS, model_path
from lookonce.runtime.backends import open_backend
from lookonce.runtime.detector import Detector
from lookonce.runtime.devices import AUTO
from lookonce.runtime.options import EVALUATION_CONF, DetectOptions
from lookonce.runtime.pipeline import each_image
from lookonce.samples import Problem, Sample, numbers_in
from lookonce.train.imitate import Teacher
from lookonce.train.setup import TrainData, as_trained, base_network, describe, make_network
from lookonce.train.transfer import transfer
from lookonce.values import measure_values

TAUGHT, OLD = "taught.json", "old.safetensors"  # files in the run folder
SILENT = -20.0  # logit of the new classes in the old model
SURE = 0.5  # score threshold if the old model has none
SAME = 0.5  # IoU from which a detection counts as the annotated object


@dataclass(frozen=True, slots=True)
class Lesson:
    """Boxes that the old model adds to one image.

    Attributes:
        name: file name of the image.
        boxes: (N, 4) xyxy in pixels of the image.
        labels: (N,) class numbers.
    """

    name: str
    boxes: list[list[float]]
    labels: list[int]

    @classmethod
    def of(cls, sample: Sample, detections: Detections, least: NDArray[np.float64]) -> Self:
        """Keep the detections that reach their class's threshold and do not overlap an annotated box.

        Args:
            sample: annotated image.
            detections: detections of the old model.
            least: (C,) score threshold of each class.
        """
        free = np.ones(len(detections), bool)
        free[overlapping_pairs(detections.boxes, sample.boxes, SAME).first] = False
        sure = detections[free & (detections.scores >= least[detections.labels])]
        return cls(sample.path.name, sure.boxes.tolist(), sure.labels.tolist())

    def add_to(self, sample: Sample) -> Sample:
        """Return the image with these boxes added to its own."""
        boxes = np.array(self.boxes, np.float32).reshape(-1, 4)
        return sample.joined(Sample(sample.path, boxes, np.array(self.labels, np.int64)))


@dataclass(frozen=True, slots=True)
class Lessons:
    """Class names of old and new classes, and the boxes that the old model adds to the validation images.

    Attributes:
        names: class names of the old model in its order, then the new ones.
        taught: numbers of the old classes that the data does not annotate.
        val: boxes added to each validation image, in the order of the data.
    """

    names: tuple[str, ...]
    taught: tuple[int, ...]
    val: Sequence[Lesson]

    def add_to(self, data: TrainData) -> TrainData:
        """Return the data with all class names, and the old model's boxes added to the validation images.

        Raises:
            AnnotationError: the data has other validation images.
        """
        numbers = numbers_in(self.names, data.names)
        if [sample.path.name for sample in data.val] != [lesson.name for lesson in self.val]:
            raise AnnotationError(
                f"expected the {len(self.val)} validation images that the old model was run on, found others"
            )
        train = [sample.renumbered(numbers) for sample in data.train]
        val = [
            lesson.add_to(sample.renumbered(numbers))
            for sample, lesson in zip(data.val, self.val, strict=True)
        ]
        return replace(data, names=self.names, train=train, val=val)

    def write(self, folder: Path) -> None:
        """Write the lessons to a run folder, which is created if it does not exist."""
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / TAUGHT, json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> "Lessons":
        """Read the lessons from the folder of a run to resume.

        Raises:
            AnnotationError: the file is damaged.
        """
        path = folder / TAUGHT
        try:
            found: dict[str, Any] = json.loads(read_text(path, AnnotationError))
            val = [Lesson(**each) for each in found["val"]]
            return cls(tuple(found["names"]), tuple(found["taught"]), val)
        except (ValueError, KeyError, TypeError) as error:
            raise AnnotationError(f"{path}: damaged: {str(error)[:200]}") from error


def teach(
    data: TrainData, settings: TrainSettings, model: Path, out: Path, console: Console, device: str = AUTO
) -> TrainSettings:
    """Label the old classes in the validation images; store these boxes and the old model in the run folder.

    Args:
        data: images annotated for the new classes.
        settings: settings of the run.
        model: file of the old model.
        out: run folder.
        console: console for the counts of boxes, and for images that cannot be read.
        device: device that the old model runs on, named as in `runtime.devices`.

    Returns:
        Settings with the old model's network, width, anchors, range of pixel values and epsilon.

    Raises:
        ConfigError: the data annotates every class of the model.
        ModelFileError: the model cannot be trained.
    """
    skipped: list[Problem] = []
    with closing(open_backend(model_path(model), precision="auto", device=device)) as backend:
        # detect without padding if training has none: a model trained without padding finds objects in it
        rect = settings.augment.rectangles and backend.info.fit == "letterbox"
        teacher = Detector(backend, DetectOptions(conf=EVALUATION_CONF, rect=rect))
        if set(teacher.names) <= set(data.names):
            raise ConfigError(
                f"{model}: expected a class that the data lacks, found {', '.join(teacher.names)}"
            )
        lessons, info = lessons_of(teacher, data, skipped), teacher.info
    network = info.architecture if info.architecture in NETWORKS else str(model)
    settings = as_trained(settings, info).model_copy(
        update={"model": network, "width": info.width, "anchors": info.anchors}
    )
    save_old_model(lessons.add_to(data), settings, model_path(model), out)
    lessons.write(out)
    for problem in skipped:
        say(f"skipped: {problem}", console)
    boxes = sum(len(each.labels) for each in lessons.val)
    say(
        f"{', '.join(lessons.names[label] for label in lessons.taught)} are learned from {model}: from its "
        f"raw maps in {counted(len(data.train), 'training image')}; it adds {counted(boxes, 'box')} to "
        f"{counted(len(data.val), 'validation image')}",
        console,
    )
    return settings


def lessons_of(teacher: Detector, data: TrainData, skipped: list[Problem]) -> Lessons:
    """Label the old classes that the data does not annotate, in the validation images.

    Args:
        teacher: old model, opened with a low score threshold.
        data: images annotated for the new classes, and perhaps for some of the old ones.
        skipped: list that receives a problem for each unreadable image, to which no box is added.
    """
    names = (*teacher.names, *(name for name in data.names if name not in teacher.names))
    least = np.array(teacher.info.thresholds or [SURE] * len(teacher.names))
    taught = np.array([name not in data.names for name in teacher.names])
    lessons = [Lesson(sample.path.name, [], []) for sample in data.val]
    paths = [sample.path for sample in data.val]
    values, _ = measure_values(paths, teacher.info.values)
    for number, found in each_image(paths, teacher, skipped, values=values):
        lessons[number] = Lesson.of(data.val[number], found[taught[found.labels]], least)
    return Lessons(names, tuple(np.flatnonzero(taught).tolist()), lessons)


def save_old_model(data: TrainData, settings: TrainSettings, model: Path, out: Path) -> None:
    """Write the old model, extended by the new classes, which it never predicts, to the run folder.

    Raises:
        ModelFileError: a layer of the old model does not fit the network.
    """
    info = describe(data, settings)
    network = make_network(info, settings)
    with torch.no_grad():
        for name, (anchors, beside) in head_rows(network).items():
            head = network.get_submodule(name)
            for key, each in head.named_parameters():
                rows = each.view(anchors, -1, *each.shape[1:])[:, beside:]
                rows.fill_(SILENT if key.endswith("bias") else 0)
    moved = transfer(network, info, model, base_network(settings, info))
    if moved.fresh:
        raise ModelFileError(f"{model}: expected every layer to fit a {info.architecture}: {moved}")
    save_model(out / OLD, network.state_dict(), info)


def read_old_model(out: Path, lessons: Lessons) -> Teacher:
    """Read the old model from a run folder.

    Raises:
        ModelFileError: the file is missing or damaged.
    """
    network, _ = load_model(out / OLD)
    return Teacher(network, lessons.taught)
