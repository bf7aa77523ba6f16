"""Add classes to a trained model: the old model labels its own objects in the new images.

    its detections, score >= that of its class   -> boxes to train on
                    on an annotated box          -> nothing: the annotation counts
    everywhere else its classes may lack a box, so that what the new network takes for one of them is no
    background (`loss.may_show`); it starts with the old one's weights, and so with its doubts

The images are taught once, before the run, and the result is kept in the run folder: a resumed run trains on
the same boxes.
"""

import json
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from lookonce._counted import counted
from lookonce._files import read_text, write_text
from lookonce._terminal import say
from lookonce.config import TrainSettings
from lookonce.detections import Detections
from lookonce.errors import AnnotationError, ConfigError, ImageError
from lookonce.geometry.pairs import overlapping_pairs
from lookonce.geometry.polygons import rectangle
from lookonce.networks import NETWORKS, model_path
from lookonce.runtime.backends import open_backend
from lookonce.runtime.detector import Detector
from lookonce.runtime.devices import AUTO
from lookonce.runtime.options import EVALUATION_CONF, DetectOptions
from lookonce.runtime.pipeline import each_image
from lookonce.samples import Area, Problem, Sample, numbers_in
from lookonce.train.setup import TrainData
from lookonce.values import measure_values

TAUGHT = "taught.json"  # in the run folder
SURE = 0.5  # score of the old model; its own score thresholds replace it
SAME = 0.5  # IoU at which a detection is the annotated object


@dataclass(frozen=True, slots=True)
class Lesson:
    """Labels that an old model adds to one image.

    Attributes:
        name: file name of the image.
        boxes: (N, 4) xyxy in pixels.
        labels: class of each box.
    """

    name: str
    boxes: list[list[float]]
    labels: list[int]

    @classmethod
    def of(cls, sample: Sample, found: Detections, least: NDArray[np.float64]) -> Self:
        """Keep the sure detections of an image, by class `least`, that are not on annotated boxes."""
        free = np.ones(len(found), bool)
        free[overlapping_pairs(found.boxes, sample.boxes, SAME).first] = False
        sure = found[free & (found.scores >= least[found.labels])]
        return cls(sample.path.name, sure.boxes.tolist(), sure.labels.tolist())

    def add_to(self, sample: Sample, incomplete: tuple[int, ...]) -> Sample:
        """Return an image with the lesson's boxes beside its own, and classes that may lack some."""
        new = np.array(self.boxes, np.float32).reshape(-1, 4)
        areas: tuple[Area, ...] = ()
        if incomplete:
            with suppress(ImageError):  # unreadable: training will skip it, and say so
                height, width = sample.image_size
                areas = (Area(rectangle(np.array([0, 0, width, height])), incomplete),)
        no = np.zeros(len(new), bool)
        return replace(
            sample,
            boxes=np.concatenate([sample.boxes, new]),
            labels=np.concatenate([sample.labels, np.array(self.labels, np.int64)]),
            difficult=np.concatenate([sample.difficult, no]),
            crowd=np.concatenate([sample.crowd, no]),
            ignored=(*sample.ignored, *areas),
        )


@dataclass(frozen=True, slots=True)
class Lessons:
    """Class names of old and new model together, and a lesson for each image.

    Attributes:
        names: the old model's classes in its order, then the new ones.
        train: lesson of each training image, in the order of the data.
        val: lesson of each validation image.
    """

    names: tuple[str, ...]
    train: Sequence[Lesson]
    val: Sequence[Lesson]

    def add_to(self, data: TrainData) -> TrainData:
        """Return the data under the common class names, with the labels of the old model added.

        In validation its boxes count as complete, so that as many objects are counted as it would count.

        Raises:
            AnnotationError: lessons for other images.
        """
        numbers = numbers_in(self.names, data.names)
        taught = tuple(label for label, name in enumerate(self.names) if name not in data.names)
        parts = []
        for samples, lessons, incomplete in ((data.train, self.train, taught), (data.val, self.val, ())):
            if [sample.path.name for sample in samples] != [lesson.name for lesson in lessons]:
                raise AnnotationError(
                    f"expected the images that the old model was shown, {len(lessons)}, found others"
                )
            pairs = zip(samples, lessons, strict=True)
            parts.append([lesson.add_to(sample.renumbered(numbers), incomplete) for sample, lesson in pairs])
        return replace(data, names=self.names, train=parts[0], val=parts[1])

    def write(self, folder: Path) -> None:
        """Write them into a run folder."""
        folder.mkdir(parents=True, exist_ok=True)
        parts = {
            name: [{key: getattr(lesson, key) for key in Lesson.__annotations__} for lesson in lessons]
            for name, lessons in (("train", self.train), ("val", self.val))
        }
        write_text(folder / TAUGHT, json.dumps({"names": self.names, **parts}))

    @classmethod
    def read(cls, folder: Path) -> "Lessons":
        """Read those of a run to resume.

        Raises:
            AnnotationError: damaged.
        """
        path = folder / TAUGHT
        try:
            found: dict[str, Any] = json.loads(read_text(path, AnnotationError))
            train, val = ([Lesson(**each) for each in found[part]] for part in ("train", "val"))
            return cls(tuple(found["names"]), train, val)
        except (ValueError, KeyError, TypeError) as error:
            raise AnnotationError(f"{path}: damaged: {str(error)[:200]}") from error


def teach(
    data: TrainData, settings: TrainSettings, model: Path, out: Path, console: Console, device: str = AUTO
) -> TrainSettings:
    """Label the objects of an old model in the images, and store these lessons in the run folder.

    Args:
        data: images annotated for the new classes.
        settings: of the run.
        model: the old model.
        out: the run folder.
        console: shows what was marked, and the images that cannot be read.
        device: that the old model runs on; a name in `runtime.devices`.

    Returns:
        The settings with the old model's network, width and anchors.

    Raises:
        ConfigError: the data has every class of the model.
    """
    skipped: list[Problem] = []
    with closing(open_backend(model_path(model), precision="auto", device=device)) as backend:
        # without padding where the training has none: a model that never saw any finds much that is not there
        rect = settings.augment.rectangles and backend.info.fit == "letterbox"
        teacher = Detector(backend, DetectOptions(conf=EVALUATION_CONF, rect=rect))
        kept = [name for name in teacher.names if name not in data.names]
        if not kept:
            raise ConfigError(
                f"{model}: expected a class that the data lacks, found {', '.join(teacher.names)}"
            )
        lessons, info = lessons_of(teacher, data, skipped), teacher.info
    lessons.write(out)
    for problem in skipped:
        say(f"skipped: {problem}", console)
    shown = (*lessons.train, *lessons.val)
    boxes = sum(len(each.labels) for each in shown)
    say(
        f"{model} teaches {', '.join(kept)}: {counted(boxes, 'box')} in {counted(len(shown), 'image')}",
        console,
    )
    network = info.architecture if info.architecture in NETWORKS else str(model)
    return settings.model_copy(update={"model": network, "width": info.width, "anchors": info.anchors})


def lessons_of(teacher: Detector, data: TrainData, skipped: list[Problem]) -> Lessons:
    """Label the objects of an old model's classes that the data does not annotate.

    Args:
        teacher: the old model, opened with a low score threshold.
        data: images annotated for the new classes, and perhaps for some of the old ones.
        skipped: receives a problem per unreadable image, whose lesson is empty.
    """
    names = (*teacher.names, *(name for name in data.names if name not in teacher.names))
    sure = np.array(teacher.info.thresholds or [SURE] * len(teacher.names))
    taught = np.array([name not in data.names for name in teacher.names])
    parts = []
    for samples in (data.train, data.val):
        lessons = [Lesson(sample.path.name, [], []) for sample in samples]
        paths = [sample.path for sample in samples]
        values, _ = measure_values(paths, teacher.info.values)
        for number, found in each_image(paths, teacher, skipped, values=values):
            lessons[number] = Lesson.of(samples[number], found[taught[found.labels]], sure)
        parts.append(lessons)
    return Lessons(names, *parts)
