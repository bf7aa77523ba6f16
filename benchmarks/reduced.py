"""Large JPEGs decoded at full or reduced size (`reduce_jpeg`): AP, detections in common, and CPU time.

    python benchmarks/reduced.py MODEL DATA [--split val] [--count 60] [--megapixels 12] [--noise 0 5]

Because large annotated photographs are rare, images of DATA are enlarged by cubic interpolation, and saved as
JPEG of quality 92 with Gaussian noise like that of a sensor. `--noise` has its standard deviations, on the
scale from 0 to 255. Noise matters, because without it neighboring pixels are alike, so that decoding fewer of
them loses nothing. Times are CPU time of one thread, as the lower quartile over the images. Both ways run in
turn.
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from machine import machine_line

from lookonce import Detector, read_image
from lookonce.annotations import load_samples
from lookonce.bench.tune import agreement
from lookonce.detections import Detections
from lookonce.evaluate.classes import SharedClasses
from lookonce.evaluate.coco import evaluate
from lookonce.images import reduced_image
from lookonce.runtime.options import EVALUATION_CONF
from lookonce.samples import Sample

QUALITY = 92
SEED = 0
WAYS = ("whole", "reduced")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--count", type=int, default=60, help="images, evenly spread over the data")
    parser.add_argument("--megapixels", type=float, nargs="*", default=[12])
    parser.add_argument("--noise", type=float, nargs="*", default=[0, 5])
    options = parser.parse_args()

    print(machine_line("onnxruntime", "opencv-python-headless", "numpy"))
    cv2.setNumThreads(1)
    truth = load_samples(options.data, options.split)
    usable = [sample for sample in truth.samples if len(sample.boxes)]
    samples = usable[:: max(1, len(usable) // options.count)][: options.count]
    detectors = {
        way: Detector.open(options.model, conf=EVALUATION_CONF, threads=1, reduce_jpeg=way == "reduced")
        for way in WAYS
    }
    names = detectors["whole"].names
    shared = SharedClasses.match(names, truth.names, options.data)
    size = detectors["whole"].size
    print(f"{options.data.name}, {len(samples)} images, input {size[0]}x{size[1]}\n")
    print("                            AP            in common      CPU ms, to detections    decoding alone")
    print("MP  noise  original   whole  reduced  with whole      whole  reduced  ratio     whole  reduced")
    original = [shared.detections(detectors["whole"](sample.path)) for sample in samples]
    ap = evaluate([shared.sample(sample) for sample in samples], original, shared.names).ap
    for megapixels in options.megapixels:
        for noise in options.noise:
            numbers = row(samples, shared, detectors, megapixels, noise)
            print(f"{megapixels:<4g}{noise:5g}{ap:10.4f}{numbers}", flush=True)


def row(
    samples: list[Sample],
    shared: SharedClasses,
    detectors: dict[str, Detector],
    megapixels: float,
    noise: float,
) -> str:
    """Return the numbers of a table row, with both ways measured on the same files."""
    rng = np.random.default_rng(SEED)
    scaled: list[Sample] = []
    found: dict[str, list[Detections]] = {way: [] for way in WAYS}
    times: dict[str, list[float]] = {way: [] for way in (*WAYS, "decode whole", "decode reduced")}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "large.jpg"
        for number, sample in enumerate(samples):
            scaled.append(shared.sample(enlarge(sample, path, megapixels, noise, rng)))
            data = path.read_bytes()
            for way in WAYS if number % 2 else WAYS[::-1]:
                before = time.process_time()
                each = detectors[way](data)
                times[way].append(time.process_time() - before)
                found[way].append(shared.detections(each))
            before = time.process_time()
            read_image(path)
            middle = time.process_time()
            reduced_image(path, path.name, detectors["reduced"].least_size)
            times["decode whole"].append(middle - before)
            times["decode reduced"].append(time.process_time() - middle)
    ap = [evaluate(scaled, found[way], shared.names).ap for way in WAYS]
    low = {name: 1e3 * float(np.percentile(each, 25)) for name, each in times.items()}
    common = agreement(found["whole"], found["reduced"])
    return (
        f"{ap[0]:8.4f}{ap[1]:9.4f}{common:12.1%}{low['whole']:11.1f}{low['reduced']:9.1f}"
        f"{low['reduced'] / low['whole']:7.2f}{low['decode whole']:10.1f}{low['decode reduced']:9.1f}"
    )


def enlarge(sample: Sample, path: Path, megapixels: float, noise: float, rng: np.random.Generator) -> Sample:
    """Write an image enlarged to a number of megapixels as JPEG, and return its sample with scaled boxes."""
    image = read_image(sample.path)
    factor = (megapixels * 1e6 / (image.shape[0] * image.shape[1])) ** 0.5
    large = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    if noise:
        grain = rng.normal(0, noise, large.shape).astype(np.float32)
        large = np.clip(large + grain, 0, 255).round().astype(np.uint8)
    cv2.imwrite(str(path), large[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    scale = np.tile([large.shape[1] / image.shape[1], large.shape[0] / image.shape[0]], 2)
    return Sample(path, (sample.boxes * scale).astype(np.float32), sample.labels, size=large.shape[:2])


if __name__ == "__main__":
    main()
