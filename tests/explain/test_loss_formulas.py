"""The loss of single cells, computed here from the raw numbers with only `math`."""

import math
from pathlib import Path

import numpy as np
import pytest

from lookonce.config import LossSettings, Objective
from lookonce.explain import Explainer, Explanation
from lookonce.explain.loss_formulas import loss_formulas
from lookonce.explain.truth_records import Position, Positive, TrueObject
from lookonce.samples import Sample
from tests.explain.models import SIZE, write_model

CLASSES = 3
DEFAULT = LossSettings(objectness="iou")
CLASSIC = LossSettings()
WEIGHTED = LossSettings(giou=2, conf=0.5, prob=3, label_smoothing=0.3, ignore_iou=0.25)


@pytest.fixture(scope="module", params=[DEFAULT, CLASSIC, WEIGHTED], ids=["default", "classic", "weighted"])
def explained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Explanation, LossSettings]:
    explainer = Explainer.open(
        write_model(tmp_path_factory.mktemp("model")), conf=0.5, objective=Objective(loss=request.param)
    )
    image = np.random.default_rng(7).integers(0, 256, (*SIZE, 3), np.uint8)
    boxes = np.array([[10, 12, 70, 80], [60, 40, 120, 95], [30, 20, 44, 40]], np.float32)
    return explainer(image, Sample(Path("p.png"), boxes, np.array([0, 2, 1]))), request.param


def standing(found: Explanation) -> list[tuple[TrueObject, Positive]]:
    assert found.truth is not None
    pairs = [(each, positive) for each in found.truth.objects for positive in each.positives]
    return [(each, positive) for each, positive in pairs if positive.replaced_by is None]


def raw_at(found: Explanation, position: Position) -> list[float]:
    return [float(number) for number in found.scales[position[0]].raw[position[1:]]]


def sigmoid(t: float) -> float:
    return 1 / (1 + math.exp(-t))


def cross_entropy(y: float, t: float) -> float:
    return -y * math.log(sigmoid(t)) - (1 - y) * math.log(1 - sigmoid(t))


def decoded(found: Explanation, position: Position) -> tuple[float, float, float, float]:
    number, row, column, anchor = position
    stride, (w, h) = found.scales[number].stride, found.scales[number].anchors[anchor]
    tx, ty, tw, th, *_ = raw_at(found, position)
    x, y = (column + sigmoid(tx)) * stride, (row + sigmoid(ty)) * stride
    w, h = w * math.exp(tw), h * math.exp(th)
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


def iou_and_giou(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float, float]:
    inside = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inside
    enclosing = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return inside / union, inside / union - (enclosing - union) / enclosing


def result(line: str) -> float:
    return float(line.rpartition("= ")[2])


def test_the_losses_of_every_positive_match_the_formula(explained: tuple[Explanation, LossSettings]) -> None:
    found, settings = explained
    assert len(standing(found)) >= 4
    for target, positive in standing(found):
        left, top, right, bottom = target.input_box
        overlap, giou = iou_and_giou(decoded(found, positive.position), target.input_box)
        scale = 2 - (right - left) * (bottom - top) / (SIZE[0] * SIZE[1])
        *_, to, t0, t1, t2 = raw_at(found, positive.position)
        o = overlap if settings.objectness == "iou" else 1
        conf = (o - sigmoid(to)) ** 2 * cross_entropy(o, to)
        share = settings.label_smoothing / CLASSES
        classes = [
            cross_entropy((1 - settings.label_smoothing) * (number == target.label) + share, t)
            for number, t in enumerate((t0, t1, t2))
        ]
        assert positive.losses is not None
        assert positive.target_objectness == pytest.approx(o, rel=1e-4)
        assert positive.box_scale == pytest.approx(scale, rel=1e-6)
        assert positive.losses.giou == pytest.approx(settings.giou * scale * (1 - giou), rel=1e-4)
        assert positive.losses.conf == pytest.approx(settings.conf * conf, rel=1e-3, abs=1e-7)
        assert positive.losses.prob == pytest.approx(settings.prob * sum(classes), rel=1e-4)
        np.testing.assert_allclose(positive.class_terms, classes, rtol=1e-4)


def test_the_losses_of_every_background_position_match_the_formula(
    explained: tuple[Explanation, LossSettings],
) -> None:
    found, settings = explained
    assert found.truth is not None
    boxes = [each.input_box for each in found.truth.objects]
    ignored = counted = 0
    for number, scale in enumerate(found.truth.scales):
        assert scale.focal is not None
        assert scale.cross_entropy is not None
        assert scale.conf is not None
        for row, column, anchor in np.argwhere(~scale.positive).tolist():
            position, at = (number, row, column, anchor), (row, column, anchor)
            overlaps = [iou_and_giou(decoded(found, position), box)[0] for box in boxes]
            to = raw_at(found, position)[4]
            assert scale.target[at] == 0
            assert scale.best_iou[at] == pytest.approx(max(overlaps), abs=1e-4)
            if max(overlaps) > 0.01:
                assert scale.best_object[at] == overlaps.index(max(overlaps))
            assert scale.ignored[at] == (scale.best_iou[at] >= settings.ignore_iou)
            assert scale.focal[at] == pytest.approx(sigmoid(to) ** 2, rel=1e-4)
            assert scale.cross_entropy[at] == pytest.approx(cross_entropy(0, to), rel=1e-4)
            conf = 0 if scale.ignored[at] else settings.conf * sigmoid(to) ** 2 * cross_entropy(0, to)
            assert scale.conf[at] == pytest.approx(conf, rel=1e-3)
            ignored, counted = ignored + bool(scale.ignored[at]), counted + (not scale.ignored[at])
    assert min(ignored, counted) > 0


def test_the_printed_formulas_of_a_positive_give_its_losses(
    explained: tuple[Explanation, LossSettings],
) -> None:
    found, settings = explained
    for target, positive in standing(found):
        lines = loss_formulas(found, positive.position)
        by_name = {line.split(" ")[0]: result(line) for line in lines[3:-1] if not line.startswith("y ")}
        assert positive.losses is not None
        assert lines[1] == f"positive for object {target.number}: counted, whatever its best IoU"
        assert by_name["conf"] == pytest.approx(positive.losses.conf, rel=1e-3)
        assert by_name["giou"] == pytest.approx(positive.losses.giou, rel=1e-3)
        assert by_name["prob"] == pytest.approx(positive.losses.prob, rel=1e-3)
        assert by_name["GIoU"] == pytest.approx(positive.giou, abs=1e-3)
        focal, bce = result(lines[4]), result(lines[5])
        assert settings.conf * focal * bce == pytest.approx(positive.losses.conf, rel=1e-2)
        assert result(lines[-1]) == pytest.approx(positive.losses.total, rel=1e-3)
        assert lines[2] == ("o = 1" if settings.objectness == "one" else lines[2])
        inside, union = lines[7].split(" = ")[2].split(" / ")
        assert float(inside) / float(union) == pytest.approx(positive.iou, abs=2e-3)


def test_the_printed_formulas_of_the_background_say_whether_it_counts(
    explained: tuple[Explanation, LossSettings],
) -> None:
    found, settings = explained
    assert found.truth is not None
    for number, scale in enumerate(found.truth.scales):
        for ignored in (True, False):
            for at in np.argwhere(~scale.positive & (scale.ignored == ignored))[:5].tolist():
                lines = loss_formulas(found, (number, *at))
                sign, word = (">=", "ignored") if ignored else ("<", "counted")
                best = float(scale.best_iou[tuple(at)])
                assert lines[1] == f"background, {best:.4g} {sign} {settings.ignore_iou:g}: {word}"
                assert lines[2] == "o = 0"
                assert ("* 0 = 0" in lines[-1]) == ignored
                assert len(lines) == 7


def test_formulas_need_losses(tiny: Explainer) -> None:
    found = tiny(np.zeros((*SIZE, 3), np.uint8))

    with pytest.raises(ValueError, match=r"expected an explanation with losses$"):
        loss_formulas(found, (0, 0, 0, 0))


def test_settings_say_where_they_come_from(tmp_path: Path) -> None:
    sample = Sample(Path("p.png"), np.array([[10, 10, 60, 60]], np.float32), np.array([0]))
    image = np.zeros((*SIZE, 3), np.uint8)
    recorded = {"objective": {"loss": {"objectness": "iou"}}}
    for name, fields in (("recorded", {"training": recorded}), ("silent", {})):
        (tmp_path / name).mkdir()
        truth = Explainer.open(write_model(tmp_path / name, **fields))(image, sample).truth
        assert truth is not None
        values = {each.name: (each.value, each.classic, each.default) for each in truth.settings}
        assert values["loss.objectness"] == ("iou" if name == "recorded" else "one", "one", "iou")
        assert values["loss.ignore_iou"] == ("0.5", "0.5", "0.5")
        assert truth.objective_source == ("model" if name == "recorded" else "classic")
        assert ("records no training settings" in truth.objective) == (name == "silent")
        assert ("is the IoU of its predicted box" in truth.objective) == (name == "recorded")
        assert "Other differences" not in truth.objective


def test_tensor_shapes_are_listed(explained: tuple[Explanation, LossSettings]) -> None:
    found, _ = explained
    assert found.truth is not None
    positives = len(standing(found))
    shapes = {each.tensor: each.shape for each in found.truth.shapes}
    assert shapes["boxes"] == (3, 4)
    assert shapes["anchor IoU"] == (3, 6)
    assert shapes["positives, sparse"] == (positives,)
    assert shapes["raw map, stride 16"] == (1, 3 * 8, 6, 8)
    assert shapes["by anchor, stride 32"] == shapes["label, dense, stride 32"] == (1, 3, 4, 3, 8)
    assert shapes["IoU with every object, stride 16"] == (1, 6, 8, 3, 3)
    per_scale = [shapes[f"class terms, stride {stride}"] for stride in (16, 32)]
    assert sum(rows for rows, _ in per_scale) == positives
    for each in found.truth.shapes:
        assert each.axes.count(",") == len(each.shape) - (each.axes[-2] != ","), each.tensor
