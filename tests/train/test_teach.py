"""The old model's detections become boxes of the new images, the same after a resume."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from rich.console import Console

from lookonce.config import AugmentSettings, TrainSettings
from lookonce.detections import Detections
from lookonce.errors import AnnotationError
from lookonce.images import write_image
from lookonce.runtime.backends import open_backend
from lookonce.runtime.detector import Detector
from lookonce.samples import Problem, Sample
from lookonce.train.setup import TrainData
from lookonce.train.teach import TAUGHT, Lessons, lessons_of, teach
from tests.data.drawn_samples import INFO
from tests.tiny_onnx import YELLOW, image, write_tiny_model

OLD = "disc", "bar"


class Teacher:
    """Finds the same in every image: a sure disc, an unsure bar, and a sure disc on the annotated box."""

    names, info = OLD, replace(INFO, names=OLD)

    def __call__(self, image: object) -> Detections:
        boxes = np.array([[1, 1, 20, 20], [30, 5, 50, 25], [60, 30, 80, 50]], np.float32)
        return Detections(boxes, np.array([0.5, 0.49, 0.9], np.float32), np.array([0, 1, 0]), OLD)


@pytest.fixture
def data(tmp_path: Path) -> TrainData:
    """Two images to train on and one for validation, annotated for rings alone; one cannot be read."""
    for name in "ac":
        write_image(tmp_path / f"{name}.png", np.zeros((60, 90, 3), np.uint8))
    (tmp_path / "b.png").write_bytes(b"no image")
    box = np.array([[60, 30, 81, 50]], np.float32)
    one, two, three = (Sample(tmp_path / f"{name}.png", box, np.array([0])) for name in "abc")
    return TrainData(("ring",), [one, two], [three])


def test_the_thresholds_of_the_old_model_tell_what_is_sure(data: TrainData) -> None:
    teacher = Teacher()
    teacher.info = replace(INFO, names=OLD, thresholds=(0.6, 0.4))
    (lesson, _) = lessons_of(cast(Detector, teacher), data, []).train
    assert lesson.labels == [1]


def taught(data: TrainData, skipped: list[Problem] | None = None) -> Lessons:
    return lessons_of(cast(Detector, Teacher()), data, [] if skipped is None else skipped)


def test_sure_detections_become_boxes(data: TrainData) -> None:
    skipped: list[Problem] = []
    lessons = taught(data, skipped)
    assert [Path(problem.place).name for problem in skipped] == ["b.png"]
    found = lessons.add_to(data)
    assert found.names == ("disc", "bar", "ring")
    for sample in (found.train[0], found.val[0]):
        assert sample.labels.tolist() == [2, 0]  # the annotation counts, not the detection on it
        assert sample.boxes.tolist() == [[60, 30, 81, 50], [1, 1, 20, 20]]
    (area,) = found.train[0].ignored  # the old classes may lack boxes in the whole image
    assert area.labels == (0, 1)
    assert area.corners.tolist() == [[0, 0], [90, 0], [90, 60], [0, 60]]
    assert found.val[0].ignored == ()  # counts of the old classes are those of the old model
    assert found.train[1].labels.tolist() == [2]
    assert found.train[1].ignored == ()


def test_classes_that_the_data_annotates_are_not_taught(data: TrainData) -> None:
    found = taught(replace(data, names=("disc",))).add_to(replace(data, names=("disc",)))
    assert found.names == OLD
    assert found.train[0].labels.tolist() == [0]
    assert [area.labels for area in found.train[0].ignored] == [(1,)]


@pytest.mark.parametrize("rectangles", [True, False])
def test_the_old_model_is_opened_once_and_pads_as_the_training_does(
    tmp_path: Path, rectangles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image fills cells of the network only without padding."""
    opened = []
    counting = lambda *a, **b: opened.append(a) or open_backend(*a, **b)  # noqa: E731
    monkeypatch.setattr("lookonce.train.teach.open_backend", counting)
    write_image(tmp_path / "a.png", image((32, 96), ((32, 0, 64, 32), YELLOW)))
    data = TrainData(
        ("ring",), [Sample(tmp_path / "a.png", np.zeros((0, 4), np.float32), np.zeros(0, int))], []
    )
    model = write_tiny_model(tmp_path / "old.onnx")
    settings = TrainSettings(augment=AugmentSettings(rectangles=rectangles))

    found = teach(data, settings, model, tmp_path / "run", Console(quiet=True))

    assert (found.model, found.width) == (str(model), 1)
    (lesson,) = Lessons.read(tmp_path / "run").train
    assert lesson.boxes == ([[32, 0, 64, 32]] if rectangles else [])
    assert len(opened) == 1


def test_lessons_are_read_back_exactly(data: TrainData, tmp_path: Path) -> None:
    lessons = taught(data)
    lessons.write(tmp_path / "run")
    assert Lessons.read(tmp_path / "run") == lessons
    first, second = (each.add_to(data).summary() for each in (lessons, Lessons.read(tmp_path / "run")))
    assert first == second
    assert first["boxes"] == 3


def test_lessons_of_other_images_or_damaged_ones_are_refused(data: TrainData, tmp_path: Path) -> None:
    lessons = taught(data)
    with pytest.raises(AnnotationError, match="expected the images that the old model was shown"):
        lessons.add_to(replace(data, train=data.train[::-1]))
    (tmp_path / TAUGHT).write_text('{"names": []}')
    with pytest.raises(AnnotationError, match=r"taught\.json: damaged"):
        Lessons.read(tmp_path)
