"""The losses of an explanation equal those of training, and their parts add up."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lookonce.config import LossSettings, Objective
from lookonce.data.dataset import Dataset
from lookonce.data.loader import Loader
from lookonce.explain import Explainer, Explanation
from lookonce.model.files import load_model
from lookonce.model.network import to_input
from lookonce.samples import Area, Sample
from lookonce.train.loss import Losses, compute_losses
from tests.data.drawn_samples import draw_samples
from tests.explain.models import SIZE, write_model

SETTINGS = LossSettings(ignore_iou=0.3, label_smoothing=0.1, giou=2.0, conf=0.5, prob=3.0)


OTHERS = SETTINGS.model_copy(update={"objectness": "iou", "box": "ciou"})


# one part of the image is ignored, and in another, objects of class 1 may lack boxes
AREAS = (
    Area(np.array([[0, 0], [30, 0], [0, 60]], np.float32)),
    Area(np.array([[40, 0], [80, 0], [80, 64], [40, 64]], np.float32), (1,)),
)


def trained_on(path: Path, sample: Sample, objective: Objective) -> Losses:
    """Return the losses that training computes for an image."""
    network, info = load_model(path)
    dataset = Dataset([sample], info, None, difficult=objective.difficult)
    with Loader(dataset, 1, workers=0) as loader:
        ((batch,),) = loader.steps(0)
    with torch.inference_mode():
        raw_maps = network.eval()(to_input(batch.images))
        return compute_losses(
            raw_maps,
            batch.positives,
            batch.truth,
            info.anchors,
            info.strides,
            objective.loss,
            batch.ignored,
        )


def crowded(sample: Sample) -> Sample:
    """Make the first box a crowd, and repeat a box, so that positions are replaced."""
    crowd = np.arange(len(sample.labels) + 1) == 0
    return replace(
        sample,
        boxes=np.concatenate([sample.boxes, sample.boxes[-1:]]),
        labels=np.append(sample.labels, (sample.labels[-1] + 1) % 3),
        difficult=np.zeros(len(crowd), bool),
        crowd=crowd,
    )


@pytest.fixture(
    scope="module",
    params=[
        ("yolov3-tiny", Objective(loss=SETTINGS)),
        ("yolov3", Objective(loss=SETTINGS)),
        ("yolov3-tiny", Objective(loss=OTHERS, difficult="ignore")),
    ],
)
def explained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[Explanation, Losses]]:
    folder = tmp_path_factory.mktemp("losses")
    architecture, objective = request.param
    path = write_model(folder, architecture)
    explainer = Explainer.open(path, conf=0.6, objective=objective)
    samples = draw_samples(folder)[:5]
    samples[2] = replace(samples[2], ignored=AREAS)
    samples[3] = crowded(samples[3])
    samples[4] = replace(samples[4], difficult=np.arange(len(samples[4].labels)) == 0)
    return [(explainer(sample.path, sample), trained_on(path, sample, objective)) for sample in samples]


def test_totals_equal_training(explained: list[tuple[Explanation, Losses]]) -> None:
    for found, expected in explained:
        assert found.truth is not None
        assert found.truth.losses is not None
        total = found.truth.losses.total
        assert total.giou == pytest.approx(float(expected.giou), rel=1e-4)
        assert total.conf == pytest.approx(float(expected.conf), rel=1e-4)
        assert total.prob == pytest.approx(float(expected.prob), rel=1e-4)
        assert total.total == pytest.approx(float(expected.total()), rel=1e-4)


def test_parts_add_up_to_the_totals(explained: list[tuple[Explanation, Losses]]) -> None:
    for found, _ in explained:
        truth = found.truth
        assert truth is not None
        assert truth.losses is not None
        positions = {p.position: p for each in truth.objects for p in each.positives if p.replaced_by is None}
        for name in ("giou", "conf", "prob"):
            total = getattr(truth.losses.total, name)
            assert sum(getattr(each, name) for each in truth.losses.scales) == pytest.approx(total, rel=1e-5)
            objects = sum(getattr(each.losses, name) for each in truth.objects)
            background = getattr(truth.losses.background, name)
            assert objects + background == pytest.approx(total, rel=1e-5)
        for number, scale in enumerate(truth.scales):
            assert scale.conf is not None
            assert scale.conf.sum() == pytest.approx(truth.losses.scales[number].conf, rel=1e-5)
            assert (scale.conf[scale.ignored] == 0).all()
            assert (scale.conf[~scale.ignored] > 0).all()
            marked = {(number, *position) for position in np.argwhere(scale.positive).tolist()}
            assert marked == {position for position in positions if position[0] == number}
        for position, positive in positions.items():
            assert positive.losses is not None
            conf = truth.scales[position[0]].conf
            assert conf is not None
            assert positive.losses.conf == pytest.approx(conf[position[1:]])


def test_the_giou_loss_of_a_positive_follows_from_its_numbers(
    explained: list[tuple[Explanation, Losses]],
) -> None:
    height, width = SIZE
    seen = 0
    for found, _ in explained:
        assert found.truth is not None
        for each in found.truth.objects:
            left, top, right, bottom = each.input_box
            weight = 2 - (right - left) * (bottom - top) / (height * width)
            for positive in each.positives:
                if positive.losses is not None:
                    expected = SETTINGS.giou * weight * (1 - positive.measure)
                    assert positive.losses.giou == pytest.approx(expected, rel=1e-4)
                    seen += 1
    assert seen > 5


def test_replaced_positives_and_crowds_have_no_loss(explained: list[tuple[Explanation, Losses]]) -> None:
    truth = explained[3][0].truth
    assert truth is not None
    crowd, *_, earlier, later = truth.objects

    assert (crowd.anchor_ious, crowd.positives, crowd.verdict.stage) == ((), (), "not counted")
    assert truth.lost_positives == len(earlier.positives) > 0
    assert {positive.replaced_by for positive in earlier.positives} == {later.number}
    assert all(positive.losses is None for positive in earlier.positives)
    assert earlier.losses is not None
    assert earlier.losses.total == 0


def test_cells_are_ignored_if_they_fit_an_object_but_are_not_positive(
    explained: list[tuple[Explanation, Losses]],
) -> None:
    ignored = 0
    for found, _ in explained:
        assert found.truth is not None
        for scale in found.truth.scales:
            assert not (scale.ignored & scale.positive).any()
            np.testing.assert_array_equal(
                scale.ignored | scale.positive, (scale.best_iou >= 0.3) | scale.in_area | scale.positive
            )
            ignored += scale.ignored.sum()
    assert ignored > 0


def test_the_cells_of_ignored_areas_are_marked(explained: list[tuple[Explanation, Losses]]) -> None:
    in_area = [
        sum(int(scale.in_area.sum()) for scale in found.truth.scales) for found, _ in explained if found.truth
    ]
    assert [count > 0 for count in in_area] == [False, False, True, True, False]  # areas, and a crowd
    found = explained[2][0].truth
    assert found is not None
    assert found.losses is not None
    assert found.losses.background.prob > 0  # absence of the other classes
    assert found.scales[-1].in_area[0, 0].all()
    assert not found.scales[0].in_area.all()


def test_a_network_with_stretched_cells_has_losses(nano: Explainer, data: Path) -> None:
    path = data / "photos" / "dog.jpg"
    truth = nano(
        path, Sample(path, np.array([[128, 208, 352, 540]], np.float32), np.array([16], np.int64))
    ).truth

    assert truth is not None
    assert truth.losses is not None
    assert truth.objects[0].losses is not None
    assert truth.why_no_losses == ""
    assert truth.objects[0].verdict.stage == "found"
