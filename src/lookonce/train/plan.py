"""What data and settings ask for: a model with its anchors, and a learning rate over time."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from lookonce.config import Objective, TrainSettings
from lookonce.data.dataset import Dataset
from lookonce.doctor.statistics import input_shapes
from lookonce.geometry.anchors import OFFICIAL, STRIDES, fit_anchors
from lookonce.metadata import LEARNT_FROM, OBJECTIVE, ModelInfo
from lookonce.samples import Sample
from lookonce.train.loop import steps_an_epoch
from lookonce.train.schedule import Schedule


@dataclass(frozen=True, slots=True)
class TrainData:
    """What a run learns from and is judged by.

    Attributes:
        names: class names.
        train: images to learn from.
        val: images to judge by; may be empty, then the last model is the best one.
    """

    names: tuple[str, ...]
    train: Sequence[Sample]
    val: Sequence[Sample]

    def summary(self) -> dict[str, int | str]:
        """Counts, and a digest of file names, boxes and classes in their order; folders may move."""
        digest = hashlib.sha256()
        for sample in chain(self.train, self.val):
            digest.update(os.fsencode(sample.path.name))
            for array in (sample.boxes, sample.labels, sample.crowd):
                digest.update(array.tobytes())
        return {
            "images": len(self.train),
            "boxes": sum(len(sample.labels) for sample in self.train),
            "judged": len(self.val),
            "digest": digest.hexdigest(),
        }


def describe(data: TrainData, settings: TrainSettings) -> ModelInfo:
    """The model that this data and these settings ask for."""
    strides = STRIDES[settings.model]
    anchors = OFFICIAL[settings.model]
    if settings.anchors == "data":
        anchors = fit_anchors(
            input_shapes([each for each in data.train if each.is_readable], settings.size), anchors
        )
    objective = Objective(assign=settings.assign, loss=settings.loss)
    return ModelInfo(
        architecture=settings.model,
        names=data.names,
        anchors=anchors,
        strides=strides,
        input_size=settings.size,
        width=settings.width,
        training={OBJECTIVE: objective.model_dump(mode="json"), LEARNT_FROM: data.summary()},
    )


def make_dataset(data: TrainData, info: ModelInfo, settings: TrainSettings) -> Dataset:
    """The images to learn from, as the settings want them changed and assigned."""
    return Dataset(
        data.train,
        info,
        settings.augment,
        settings.seed,
        epochs=settings.epochs,
        assignment=settings.assign,
        repeat_rare=settings.repeat_rare,
    )


def make_schedule(settings: TrainSettings, batches: int) -> Schedule:
    """The learning rate for epochs of so many batches."""
    optimizer = settings.optimizer
    steps = steps_an_epoch(batches, optimizer.accumulate)
    warmup = round(optimizer.warmup_epochs * steps)
    return Schedule(optimizer.rate, optimizer.end_rate, warmup, settings.epochs * steps)
