"""Accuracy on VOC images and time per image, for choosing the small COCO network of the package.

    python benchmarks/builtin.py DATA MODEL.cfg [MODEL.cfg ...] [--rounds 10] [--threads 1]

AP is computed as for COCO, on the images of all splits of DATA, for the classes that the model and the data
share. Detections of other classes are ignored. Two times are measured, with the models in turn: of a
Detector, from a 1280x720 image in memory to detections, and of its network alone in ONNX Runtime.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from machine import machine_line

from lookonce import Detector
from lookonce.annotations import open_annotations
from lookonce.bench.contenders import CONTENDERS, BenchCase
from lookonce.bench.files import prepare
from lookonce.bench.measure import BenchEntry, measure
from lookonce.evaluate.classes import SharedClasses
from lookonce.evaluate.coco import evaluate
from lookonce.runtime.options import EVALUATION_CONF


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()

    print(machine_line("onnxruntime", "numpy"))
    annotations = open_annotations(options.data)
    samples = [sample for split in annotations.splits for sample in annotations.load(split).samples]
    names = annotations.load(annotations.splits[0]).names
    print(f"{options.data.name}: {len(samples)} images, {sum(len(each.labels) for each in samples)} objects")
    aps, entries = [], []
    with TemporaryDirectory() as folder:
        for number, model in enumerate(options.models):
            with Detector.open(model, conf=EVALUATION_CONF) as detector:
                shared = SharedClasses.match(detector.names, names, options.data)
                found = [shared.detections(each) for each in detector.detect_many(s.path for s in samples)]
                aps.append(evaluate([shared.sample(each) for each in samples], found, shared.names))
                size = detector.size
            own = Path(folder) / str(number)
            own.mkdir()
            files = prepare(model, own)
            entries += [BenchEntry.of(CONTENDERS[name], files) for name in ("lookonce", "onnxruntime")]
        results = measure(entries, BenchCase(size, 1, options.threads), rounds=options.rounds)
    print(f"{options.threads} thread, input {size[0]}x{size[1]}; ms: the fastest and the median of "
          f"{options.rounds} rounds")  # fmt: skip
    print(f"{'':30}{'AP':>7}{'AP50':>7}{'bytes':>11}{'Detector, ms':>16}{'network, ms':>16}{'AP per ms':>11}")
    for model, metrics, whole, bare in zip(options.models, aps, results[::2], results[1::2], strict=True):
        fastest, middle = whole.percentile(0), whole.percentile(50)
        weights = model.with_suffix(".weights").stat().st_size
        print(
            f"{model.stem:30}{metrics.ap:7.3f}{metrics.ap50:7.3f}{weights:11,}"
            f"{fastest:8.1f}{middle:8.1f}{bare.percentile(0):8.1f}{bare.percentile(50):8.1f}"
            f"{metrics.ap / fastest:11.4f}"
        )


if __name__ == "__main__":
    main()
