"""Test the report: JSON with the metrics, and images that can be opened."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookonce.detections import Detections
from lookonce.evaluate import plots
from lookonce.evaluate.report import evaluate_detections, write_report

from .conftest import Case, found, random_case, sample

FILES = ["confusion.png", "f1_threshold.png", "metrics.json", "precision_recall.png"]


def written(folder: Path) -> dict:
    assert sorted(path.name for path in folder.iterdir()) == FILES
    for name in FILES:
        if name.endswith(".png"):
            image = np.asarray(Image.open(folder / name).convert("RGB"))
            assert min(image.shape[:2]) > 400
            assert image.std() > 10  # not blank
    return json.loads((folder / "metrics.json").read_text(), parse_constant=pytest.fail)


def test_no_images_give_a_report_of_nulls(tmp_path: Path) -> None:
    write_report(tmp_path, evaluate_detections([], [], ["cat", "dog"]), {"model": "a.onnx"})
    numbers = written(tmp_path)
    assert numbers["model"] == "a.onnx"
    assert numbers["ap"] is numbers["voc_ap50"] is numbers["best_f1"]["threshold"] is None
    assert numbers["confusion"]["thresholds"] == [0.25, 0.25]


def test_objects_without_detections_give_zeros(tmp_path: Path) -> None:
    evaluation = evaluate_detections([sample([[0, 0, 9, 9]])], [Detections.none()], ["cat", "dog"])
    write_report(tmp_path, evaluation, {})
    numbers = written(tmp_path)
    assert (numbers["ap"], numbers["voc_ap50"]) == (0, 0)
    assert numbers["confusion"]["counts"] == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_without_correct_detections_the_usual_threshold_is_used() -> None:
    far = found([[50, 50, 90, 90], [70, 70, 90, 90]], [0.9, 0.3])
    matrix = evaluate_detections([sample([[0, 0, 9, 9]])], [far], ["cat"]).confusion
    assert (matrix.thresholds, matrix.counts.tolist()) == ((0.25,), [[0, 1], [2, 0]])


def test_names_that_are_not_unicode_survive_json(tmp_path: Path) -> None:
    write_report(tmp_path, evaluate_detections([], [], ["cat"]), {"data": "caf\udce9"})
    assert json.loads((tmp_path / "metrics.json").read_text())["data"] == "caf\udce9"


def test_the_report_of_voc_sample_has_its_known_numbers(voc_sample: Case, tmp_path: Path) -> None:
    evaluation = evaluate_detections(*voc_sample)
    write_report(tmp_path, evaluation, {})
    numbers = written(tmp_path)
    assert numbers["voc_ap50"] == pytest.approx(0.6109, abs=5e-5)
    assert numbers["ap50"] == pytest.approx(0.6100, abs=5e-5)
    assert len(numbers["classes"]) == 20
    person = numbers["classes"][0]
    assert (person["name"], person["objects"]) == ("person", 91)
    assert person["best_f1"]["f1"] == pytest.approx(0.5417, abs=5e-5)
    assert person["at_precision_0.9"]["recall"] == pytest.approx(2 / 91)
    assert numbers["confusion"]["thresholds"] == [each["best_threshold"] for each in numbers["classes"]]
    assert numbers["confusion"]["names"][-1] == "background"
    assert np.array(numbers["confusion"]["counts"]).shape == (21, 21)


@pytest.mark.parametrize(
    "names",
    [
        ("head",),
        ("$\\no{$", "椅子", "a name that is much longer than anybody would want to read"),
        tuple(f"class {c}" for c in range(80)),
    ],
)
def test_plots_are_drawn_for_any_number_of_classes_and_awkward_names(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    truth, detections, _ = random_case(1, 20, len(names), 20)
    write_report(tmp_path, evaluate_detections(truth, detections, names), {})
    assert len(written(tmp_path)["classes"]) == len(names)


def test_few_classes_are_all_labeled_and_of_many_only_the_extremes(voc_sample: Case) -> None:
    def labels(case: Case) -> list[str]:
        evaluation = evaluate_detections(*case)
        figure = plots.precision_recall(evaluation.curves, evaluation.names, evaluation.voc_ap50)
        return [text.get_text() for text in figure.axes[0].texts]

    few = labels(random_case(1, 20, 3, 20))
    assert sum("class " in text for text in few) == 3
    many = labels(voc_sample)
    assert [text for text in many if text.startswith(("cat ", "car "))] == ["cat  1.00", "car  0.18"]
    assert any("gray: 14 other classes" in text for text in many)
    assert not any(text.startswith("person ") for text in many)  # neither among the best nor the worst


def test_the_drawn_area_is_ap50() -> None:
    truth, detections, names = random_case(2, 20, 1, 20)
    rng = np.random.default_rng(0)
    unequal = [
        replace(found, scores=np.sort(rng.random(len(found), np.float32))[::-1]) for found in detections
    ]  # the curve has no points between equal scores, VOC's AP does
    evaluation = evaluate_detections(truth, unequal, names)
    figure = plots.precision_recall(evaluation.curves, names, evaluation.voc_ap50)
    recall, precision = figure.axes[0].lines[0].get_data()
    assert (np.diff(recall) * precision[1:]).sum() == pytest.approx(evaluation.voc_ap50[0])
    assert not math.isnan(evaluation.voc_ap50[0])


def test_the_mean_in_the_plot_is_the_voc_ap50_of_the_report(voc_sample: Case) -> None:
    evaluation = evaluate_detections(*voc_sample)
    figure = plots.precision_recall(evaluation.curves, voc_sample[2], evaluation.voc_ap50)
    mean = np.nanmean(evaluation.voc_ap50)
    assert f"{mean:.3f}" != f"{evaluation.metrics.ap50:.3f}"  # COCO's rule gives another mean
    texts = [each.get_text() for each in (*figure.texts, *figure.axes[0].texts)]
    assert any(f"VOC AP50; their mean is {mean:.3f}" in text for text in texts)


def test_the_f1_plot_is_constant_between_scores_and_ends_at_zero() -> None:
    evaluation = evaluate_detections(
        [sample([[0, 0, 40, 40]])], [found([[0, 0, 40, 40], [80, 80, 99, 99]], [0.8, 0.5])], ["cat"]
    )
    line = plots.f1_threshold(evaluation.curves, ["cat"]).axes[0].lines[0]
    x, y = line.get_data()
    np.testing.assert_allclose(x, [0, 0.5, 0.8, 1], rtol=1e-6)
    np.testing.assert_allclose(y, [2 / 3, 2 / 3, 1, 0])
    assert line.get_drawstyle() == "steps-pre"


def test_an_image_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "f1.png"
    path.write_bytes(b"old")

    class Broken:
        def savefig(self, target: Path, **_: object) -> None:
            target.write_bytes(b"half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        plots.save(Broken(), path)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("f1.png", b"old")]
