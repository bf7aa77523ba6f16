"""Rules for score thresholds for counting: chosen on held-out images, measured on others.

    python benchmarks/counting.py RUN DATA --split test

For each class, a threshold is chosen on the held-out images by the best F1, by the smallest absolute error in
counts per image, and by an unbiased total; the counts of the other images show which rule works best.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lookonce.annotations import open_annotations
from lookonce.evaluate.counting import choose_thresholds, count
from lookonce.evaluate.curves import curves
from lookonce.evaluate.matching import Matches, match
from lookonce.evaluate.part import HELD_OUT, choose_part
from lookonce.runtime.detector import Detector
from lookonce.runtime.options import CONF, EVALUATION_CONF
from lookonce.samples import Sample
from lookonce.seen import Seen


def least_error(matches: Matches, label: int) -> float:
    """The threshold with the smallest absolute counting error, summed over the images.

    From the highest score down, each detection corrects the count of its image by one while that lacks
    objects, and spoils it by one afterwards.
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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="test")
    given = parser.parse_args()
    annotations = open_annotations(given.data)
    with Detector.open(given.run, conf=EVALUATION_CONF) as detector:
        names = detector.names

        def measure(samples: Sequence[Sample]) -> Matches:
            return match(samples, [detector(sample.path) for sample in samples], names)

        seen = Seen.of(detector.info.training)
        held_out = measure(choose_part(annotations, HELD_OUT, seen, names).found.samples)
        others = measure(annotations.load(given.split, names).samples)
    each = range(len(names))
    rules = {
        f"{CONF} for all": [CONF] * len(names),
        "best F1": [curve.best().threshold for curve in curves(held_out).classes],
        "smallest error": [least_error(held_out, c) for c in each],
        "right total (the product's)": choose_thresholds(held_out),
    }
    images = len(held_out.annotated), len(others.annotated)
    print(f"chosen on {images[0]} held-out images, measured on {images[1]} of {given.split}\n")
    print("| thresholds | class | threshold | annotated | counted | error | MAE | bias | F1 |")
    print("|---|---|---|---|---|---|---|---|---|")
    for rule, thresholds in rules.items():
        counting = count(others, names, [str(i) for i in range(len(others.annotated))], thresholds)
        for c, name in enumerate(names):
            error, kept = counting.of(c), (others.labels == c) & (others.scores > thresholds[c])
            right = int(others.correct[kept].sum())
            f1 = 2 * right / max(1, int(kept.sum()) + error.annotated)
            print(
                f"| {rule} | {name} | {thresholds[c]:.2f} | {error.annotated} | {error.counted} | "
                f"{error.relative:+.1%} | {error.mae:.2f} | {error.bias:+.2f} | {f1:.3f} |"
            )
        error = counting.of()
        print(
            f"| {rule} | all | | {error.annotated} | {error.counted} | "
            f"{error.relative:+.1%} | {error.mae:.2f} | {error.bias:+.2f} | |"
        )


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
