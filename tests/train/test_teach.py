"""Test adding classes: the old model's maps replace missing boxes in training, its boxes in validation."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from rich.console import Console

from lookonce.config import AugmentSettings, TrainSettings
from lookonce.darknet.described import describe
from lookonce.darknet.heads import with_heads
from lookonce.detections import Detections
from lookonce.errors import AnnotationError, ModelFileError
from lookonce.images import write_image
from lookonce.model.decode import by_anchor
from lookonce.model.files import save_model
from lookonce.model.network import build
from lookonce.networks import NETWORKS
from lookonce.runtime.backends import open_backend
from lookonce.runtime.detector import Detector
from lookonce.samples import Problem, Sample
from lookonce.train.setup import TrainData
from lookonce.train.teach import SILENT, TAUGHT, Lessons, lessons_of, read_old_model, save_old_model, teach
from tests.darknet.kinds import kind
from tests.data.drawn_samples import INFO
from tests.tiny_onnx import YELLOW, image, write_tiny_model

OLD = "disc", "bar"


class Teacher:
    """Detector with the same result for every image: a sure disc, an unsure bar, a sure disc on the box."""

    names, info = OLD, replace(INFO, names=OLD)

    def __call__(self, image: object) -> Detections:
        boxes = np.array([[1, 1, 20, 20], [30, 5, 50, 25], [60, 30, 80, 50]], np.float32)
        return Detections(boxes, np.array([0.5, 0.49, 0.9], np.float32), np.array([0, 1, 0]), OLD)


@pytest.fixture
def data(tmp_path: Path) -> TrainData:
    """Make a training image and two validation images, annotated for rings only; one is unreadable."""
    for name in "ac":
        write_image(tmp_path / f"{name}.png", np.zeros((60, 90, 3), np.uint8))
    (tmp_path / "b.png").write_bytes(b"no image")
    box = np.array([[60, 30, 81, 50]], np.float32)
    one, two, three = (Sample(tmp_path / f"{name}.png", box, np.array([0])) for name in "abc")
    return TrainData(("ring",), [one], [three, two])


def test_thresholds_of_the_old_model_decide_which_detections_are_sure(data: TrainData) -> None:
    teacher = Teacher()
    teacher.info = replace(INFO, names=OLD, thresholds=(0.6, 0.4))
    (lesson, _) = lessons_of(cast(Detector, teacher), data, []).val
    assert lesson.labels == [1]


def taught(data: TrainData, skipped: list[Problem] | None = None) -> Lessons:
    return lessons_of(cast(Detector, Teacher()), data, [] if skipped is None else skipped)


def test_sure_detections_become_boxes(data: TrainData) -> None:
    skipped: list[Problem] = []
    lessons = taught(data, skipped)
    assert [Path(problem.place).name for problem in skipped] == ["b.png"]
    found = lessons.add_to(data)
    assert found.names == ("disc", "bar", "ring")
    assert lessons.taught == (0, 1)
    assert found.val[0].labels.tolist() == [2, 0]  # the annotation counts, not the detection on it
    assert found.val[0].boxes.tolist() == [[60, 30, 81, 50], [1, 1, 20, 20]]
    assert [sample.labels.tolist() for sample in (found.val[1], found.train[0])] == [[2], [2]]


def test_classes_that_the_data_annotates_are_not_taught(data: TrainData) -> None:
    lessons = taught(replace(data, names=("disc",)))
    assert lessons.taught == (1,)
    found = lessons.add_to(replace(data, names=("disc",)))
    assert found.names == OLD
    assert found.val[0].labels.tolist() == [0]


@pytest.mark.parametrize("rectangles", [True, False])
def test_the_old_model_is_opened_once_and_pads_as_training_does(
    tmp_path: Path, rectangles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without padding, the image fills the network input."""
    opened = []
    counting = lambda *a, **b: opened.append(a) or open_backend(*a, **b)  # noqa: E731
    monkeypatch.setattr("lookonce.train.teach.open_backend", counting)
    monkeypatch.setattr("lookonce.train.teach.save_old_model", lambda *_: None)  # not one to be trained
    write_image(tmp_path / "a.png", image((32, 96), ((32, 0, 64, 32), YELLOW)))
    empty = Sample(tmp_path / "a.png", np.zeros((0, 4), np.float32), np.zeros(0, int))
    data = TrainData(("ring",), [empty], [empty])
    model = write_tiny_model(tmp_path / "old.onnx")
    settings = TrainSettings(augment=AugmentSettings(rectangles=rectangles))

    found = teach(data, settings, model, tmp_path / "run", Console(quiet=True))

    assert (found.model, found.width) == (str(model), 1)
    (lesson,) = Lessons.read(tmp_path / "run").val
    assert lesson.boxes == ([[32, 0, 64, 32]] if rectangles else [])
    assert len(opened) == 1


def test_lessons_read_back_exactly(data: TrainData, tmp_path: Path) -> None:
    lessons = taught(data)
    lessons.write(tmp_path / "run")
    assert Lessons.read(tmp_path / "run") == lessons
    first, second = (each.add_to(data) for each in (lessons, Lessons.read(tmp_path / "run")))
    assert first.summary() == second.summary()
    assert [len(sample.labels) for sample in second.val] == [2, 1]


def test_lessons_of_other_images_or_damaged_ones_are_refused(data: TrainData, tmp_path: Path) -> None:
    lessons = taught(data)
    with pytest.raises(AnnotationError, match="validation images that the old model was run on"):
        lessons.add_to(replace(data, val=data.val[::-1]))
    (tmp_path / TAUGHT).write_text('{"names": []}')
    with pytest.raises(AnnotationError, match=r"taught\.json: damaged"):
        Lessons.read(tmp_path)


@pytest.mark.parametrize("kind_of", ["yolov3-tiny", "csp", "region"])
def test_the_stored_old_model_detects_as_before_and_no_new_class(
    kind_of: str, data: TrainData, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    info = replace(INFO, names=OLD, bn_epsilon=0.25, values=(0.0, 4095.0))
    if kind_of not in NETWORKS:
        info = replace(
            describe(with_heads(kind(kind_of).cfg, len(OLD), (64, 96)), OLD),
            input_size=(64, 96),
            fit="letterbox",
            bn_epsilon=0.25,
            values=(0.0, 4095.0),
        )
    old = build(info).eval()
    save_model(tmp_path / "old.safetensors", old.state_dict(), info)
    settings = TrainSettings(size=(64, 96), augment=AugmentSettings(rectangles=False))

    found = teach(data, settings, tmp_path / "old.safetensors", tmp_path / "run", Console(quiet=True))

    assert (found.values, found.batch_norm.epsilon) == (info.values, info.bn_epsilon)
    teacher = read_old_model(tmp_path / "run", Lessons.read(tmp_path / "run"))
    assert teacher.classes == (0, 1)
    pixels = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        for anchors, before, after in zip(
            info.anchors, old(pixels), teacher.network.eval()(pixels), strict=True
        ):
            theirs, ours = by_anchor(before, len(anchors)), by_anchor(after, len(anchors))
            torch.testing.assert_close(ours[..., :-1], theirs)
            assert (ours[..., -1] == SILENT).all()


def test_a_network_that_the_old_heads_do_not_fit_is_refused(data: TrainData, tmp_path: Path) -> None:
    old = build(INFO)
    save_model(tmp_path / "old.safetensors", old.state_dict(), INFO)
    grown = replace(data, names=(*INFO.names, "rod"))
    other = TrainSettings(model="yolov3-tiny", anchors=[[(9, 9)] * 3, [(90, 90)] * 3])
    with pytest.raises(ModelFileError, match="expected every layer to fit"):
        save_old_model(grown, other, tmp_path / "old.safetensors", tmp_path)


def test_a_model_that_cannot_be_trained_is_refused(data: TrainData, tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "old.onnx")
    with pytest.raises(ModelFileError, match=r"old\.onnx"):
        teach(data, TrainSettings(), model, tmp_path / "run", Console(quiet=True))
