"""Compare rules for choosing the score thresholds of counts, by their errors on other images.

    python benchmarks/counting.py DATA RUN [RUN ...] --split test

On the held-out images, each rule chooses a threshold per class: the best F1, the smallest absolute error in
counts per image, or an unbiased total. The counts on the images of `--split` show which rule works best.
Calibrated scores are compared too: the share of correct detections at each score, fitted on the held-out
images by Platt scaling or isotonic regression. A count is then the number of detections with a calibrated
score of 0.5 or more, or the sum of all calibrated scores, times the factor that makes the total of the
held-out images right.

For several runs (seeds), the table has means, and for errors of the totals the mean absolute values.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from machine import machine_line
from numpy.typing import NDArray

from lookonce.annotations import open_annotations
from lookonce.evaluate.counting import choose_thresholds
from lookonce.evaluate.curves import curves
from lookonce.evaluate.matching import Matches, match
from lookonce.evaluate.part import HELD_OUT, choose_part
from lookonce.runtime.detector import Detector
from lookonce.runtime.options import CONF, EVALUATION_CONF
from lookonce.samples import Sample
from lookonce.seen import Seen

Calibration = Callable[[NDArray[np.floating]], NDArray[np.floating]]


def least_error(matches: Matches, label: int) -> float:
    """Return the threshold with the smallest absolute counting error, summed over the images.

    In descending order of score, each detection reduces the error of its image by one until the count is
    complete, and then increases it by one.
    """
    mine = matches.labels == label
    image, scores = matches.image[mine], matches.scores[mine].astype(float)
    seen = np.zeros(len(matches.annotated), int)
    steps = np.ones(len(image), int)
    for d, i in enumerate(image.tolist()):
        steps[d] = -1 if seen[i] < matches.annotated[i, label] else 1
        seen[i] += 1
    kept = int(np.concatenate([[0], np.cumsum(steps)]).argmin())
    edges = np.concatenate([[1.0], scores, [0.0]])
    return float(edges[kept] + edges[kept + 1]) / 2


def platt(scores: NDArray[np.floating], right: NDArray[np.bool_]) -> Calibration:
    """Fit sigmoid(a * logit + b) by Newton's method, with the smoothed targets of Platt (1999)."""

    def inputs(scores: NDArray[np.floating]) -> NDArray[np.floating]:
        inner = np.clip(scores.astype(float), 1e-6, 1 - 1e-6)
        return np.stack([np.log(inner / (1 - inner)), np.ones(len(inner))], axis=1)

    x, number = inputs(scores), int(right.sum())
    target = np.where(right, (number + 1) / (number + 2), 1 / (len(right) - number + 2))
    weights = np.zeros(2)
    for _ in range(30):
        p = 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))
        hessian = (x * (p * (1 - p))[:, None]).T @ x + 1e-6 * np.eye(2)
        weights += np.linalg.solve(hessian, x.T @ (target - p))
    return lambda scores: 1 / (1 + np.exp(-np.clip(inputs(scores) @ weights, -30, 30)))


def isotonic(scores: NDArray[np.floating], right: NDArray[np.bool_]) -> Calibration:
    """Fit a step function that never decreases, by pooling adjacent violators."""
    order = np.argsort(scores, kind="stable")
    values, weights, starts = list[float](), list[int](), list[float]()
    for score, value in zip(scores[order].tolist(), right[order].tolist(), strict=True):
        values.append(float(value))
        weights.append(1)
        starts.append(score)
        while len(values) > 1 and values[-2] >= values[-1]:
            (u, m), (v, n) = (values.pop(), weights.pop()), (values.pop(), weights.pop())
            values.append((u * m + v * n) / (m + n))
            weights.append(m + n)
            starts.pop()
    steps = np.array(values)
    return lambda scores: steps[np.maximum(np.searchsorted(starts, scores, side="right") - 1, 0)]


def counts_by_rule(
    held_out: Matches, others: Matches
) -> Mapping[str, tuple[Sequence[float], NDArray[np.floating]]]:
    """Return the thresholds per class (NaN for none) and the counts (I, C) of the other images, per rule."""
    each = range(held_out.annotated.shape[1])
    thresholds = {
        f"{CONF} for all": [CONF for _ in each],
        "best F1": [curve.best().threshold for curve in curves(held_out).classes],
        "smallest error": [least_error(held_out, c) for c in each],
        "right total (the product's)": list(choose_thresholds(held_out)),
    }
    found: dict[str, tuple[Sequence[float], NDArray[np.floating]]] = {}
    for rule, limits in thresholds.items():
        found[rule] = limits, summed(others, others.scores > np.array(limits)[others.labels])
    none = [np.nan for _ in each]
    for name, fit in (("Platt", platt), ("isotonic", isotonic)):
        share, factor = np.zeros(len(others.scores)), np.ones(len(none))
        for c in each:
            learned, mine = held_out.labels == c, others.labels == c
            calibration = fit(held_out.scores[learned], held_out.correct[learned])
            share[mine] = calibration(others.scores[mine])
            factor[c] = held_out.objects[c] / calibration(held_out.scores[learned]).sum()
        found[f"{name}, 0.5 or more"] = none, summed(others, share >= 0.5)
        found[f"{name}, sum"] = none, summed(others, share) * factor
    return found


def summed(matches: Matches, weights: NDArray[np.generic]) -> NDArray[np.floating]:
    """Return the summed weights of the detections per image and class, (I, C)."""
    counted = np.zeros(matches.annotated.shape)
    np.add.at(counted, (matches.image, matches.labels), weights.astype(float))
    return counted


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--split", default="test")
    given = parser.parse_args()
    print(machine_line("onnxruntime", "numpy"))
    annotations = open_annotations(given.data)
    rows: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    for run in given.runs:
        with Detector.open(run, conf=EVALUATION_CONF) as detector:
            names = detector.names

            def measure(samples: Sequence[Sample]) -> Matches:
                return match(samples, [detector(sample.path) for sample in samples], names)  # noqa: B023

            seen = Seen.of(detector.info.training)
            held_out = measure(choose_part(annotations, HELD_OUT, seen, names).found.samples)
            others = measure(annotations.load(given.split, names).samples)
        for rule, (thresholds, counted) in counts_by_rule(held_out, others).items():
            for c, name in enumerate(names):
                kept = (others.labels == c) & (others.scores > thresholds[c])
                annotated, right = others.annotated[:, c], int(others.correct[kept].sum())
                f1 = 2 * right / max(1, int(kept.sum()) + annotated.sum())
                errors = errors_of(annotated, counted[:, c])
                rows[rule, name].append([thresholds[c], *errors, np.nan if np.isnan(thresholds[c]) else f1])
            rows[rule, "all"].append([np.nan, *errors_of(others.annotated.sum(1), counted.sum(1)), np.nan])
    print(
        f"{len(given.runs)} run(s), chosen on {len(held_out.annotated)} held-out images, measured on "
        f"{len(others.annotated)} of {given.split}\n"
    )
    print("| counted | class | threshold | annotated | counted | error | MAE | bias | F1 |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (rule, name), each in rows.items():
        cells = np.array(each)
        threshold, annotated, counted, _, mae, bias, f1 = cells.mean(axis=0)
        error = f"{cells[0, 3]:+.1%}" if len(each) == 1 else f"{np.abs(cells[:, 3]).mean():.1%}"
        shown = [
            "" if np.isnan(value) else text
            for value, text in ((threshold, f"{threshold:.2f}"), (f1, f"{f1:.3f}"))
        ]
        print(
            f"| {rule} | {name} | {shown[0]} | {annotated:.0f} | {counted:.0f} | {error} | {mae:.2f} | "
            f"{bias:+.2f} | {shown[1]} |"
        )


def errors_of(annotated: NDArray[np.integer], counted: NDArray[np.floating]) -> list[float]:
    """Return annotated and counted objects, the relative error of the total, and MAE and bias per image."""
    difference = counted - annotated
    total = float(annotated.sum())
    return [total, counted.sum(), difference.sum() / total, np.abs(difference).mean(), difference.mean()]


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
