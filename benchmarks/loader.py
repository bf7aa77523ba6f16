"""Rate of images from disk to batch: by stage, by number of threads, and with worker processes.

    python benchmarks/loader.py DATA [--size 320] [--batch 16] [--rounds 5] [--recipe FILE]

The `train` split of DATA, any annotated data set, is read; no files are written. A rate is the best of the
rounds. A rate per second of CPU time counts all threads, so it is also valid on a busy machine. With
`--recipe`, images are augmented as in that recipe, and only threads are measured: in the recipe's rectangles,
if it has them, and in squares of the full size; with every image read from disk, and with decoded images kept
in memory after the first epoch.
"""

import argparse
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from machine import machine_line
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from lookonce.annotations import load_samples
from lookonce.config import AugmentSettings, parse_size
from lookonce.data.assign import assign
from lookonce.data.augment import augment
from lookonce.data.cache import MOST_BYTES, ImageCache
from lookonce.data.dataset import Dataset, trainable
from lookonce.data.loader import Batch, Loader
from lookonce.geometry.letterbox import Letterbox
from lookonce.images import decode_image
from lookonce.metadata import ModelInfo
from lookonce.recipe import load_settings
from lookonce.samples import SampleSet
from lookonce.train.setup import TrainData, make_dataset

# yolov3-tiny's published anchors
ANCHORS = (((10, 14), (23, 27), (37, 58)), ((81, 82), (135, 169), (344, 319)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--size", type=parse_size, default=(320, 320))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--recipe", type=Path)
    options = parser.parse_args()

    found = load_samples(options.data, "train")
    info = ModelInfo("yolov3-tiny", found.names, ANCHORS, (16, 32), options.size)
    describe_run(found, options)
    if options.recipe:
        data = TrainData(found.names, found.samples, ())
        for name, assignments in (("as it is", ()), ("squares", ("augment.rectangles=false",))):
            settings = load_settings(options.recipe, assignments, size=options.size)
            learned = make_dataset(data, info, settings)
            for kept, place in ((0, "disk"), (MOST_BYTES, "memory")):
                learned.images = ImageCache(kept)
                for workers in (0, 2):
                    with Loader(learned, options.batch, workers) as loader:
                        report(
                            f"{name}, from {place}, threads: {workers}",
                            partial(batches, loader),
                            options.rounds,
                        )
        return
    dataset = Dataset(found.samples, info, AugmentSettings())
    dataset.images = ImageCache(0)
    profile(dataset, options.rounds)
    for workers in (0, 1, 2, 4):
        with Loader(dataset, options.batch, workers) as loader:
            report(f"threads: {workers}", partial(batches, loader), options.rounds)
    own = cv2.getNumThreads()
    cv2.setNumThreads(1)
    with Loader(dataset, options.batch, 2) as loader:
        report("threads: 2, none of OpenCV's own", partial(batches, loader), options.rounds)
    cv2.setNumThreads(own)
    for start in ("fork", "spawn"):
        report(
            f"processes: 2, {start}, new each epoch", process_epochs(dataset, options.batch, start, False), 3
        )
        report(f"processes: 2, {start}, kept", process_epochs(dataset, options.batch, start, True), 3)


def describe_run(found: SampleSet, options: argparse.Namespace) -> None:
    sizes = [decode_image(s.path.read_bytes(), str(s.path)).shape[:2] for s in found.samples[:50]]
    height, width = np.median(sizes, axis=0).astype(int)
    boxes = sum(len(sample.boxes) for sample in found.samples)
    print(machine_line("opencv-python-headless", "numpy", "torch"))
    print(f"{len(found.samples)} images of {width}x{height} (median), {boxes} boxes")
    changes = options.recipe or "flip, crop, translate at 0.5"
    print(f"to {options.size[0]}x{options.size[1]}, {changes}, batch {options.batch}\n")


def profile(dataset: Dataset, rounds: int) -> None:
    """Print the milliseconds per image of each stage, from the fastest round of each image."""
    times = np.array([[stages(dataset, index) for index in range(len(dataset))] for _ in range(rounds)]).min(
        axis=0
    )
    print("ms an image, one thread    mean    median")
    for name, stage in zip(STAGES, times.T, strict=True):
        print(f"{name:24s} {1e3 * stage.mean():7.3f}   {1e3 * np.median(stage):7.3f}")
    total = times.sum(axis=1).mean()
    print(f"{'all':24s} {1e3 * total:7.3f}   = {1 / total:.0f} images/s\n")


def batches(loader: Loader, epoch: int) -> Iterator[Batch]:
    return chain.from_iterable(loader.steps(epoch))


STAGES = ("read the file", "decode", "augment", "letterbox", "assign")


def stages(dataset: Dataset, index: int) -> list[float]:
    """Return the seconds of each stage of `Dataset.load`, from the same work in the same order."""
    sample, info = dataset.samples[index], dataset.info
    pixels = np.empty((*info.input_size, 3), np.uint8)
    marks = [time.perf_counter()]

    def mark() -> None:
        marks.append(time.perf_counter())

    data = sample.path.read_bytes()
    mark()
    pixels = decode_image(data, str(sample.path))
    mark()
    image, _ = trainable(sample, pixels)
    image = augment(image, AugmentSettings(), np.random.default_rng((0, index)))
    mark()
    box = Letterbox.fit(image.size, info.input_size)
    box.image(image.pixels, pixels)
    boxes = box.boxes_in(image.boxes)
    mark()
    assign(boxes, image.labels, info.anchors, info.strides, info.input_size)
    mark()
    return np.diff(marks).tolist()


def report(name: str, epoch: Callable[[int], Iterable[Batch]], rounds: int) -> None:
    """Print images per second, and per second of this process's CPU time, over whole epochs."""
    rates, first_batches = [], []
    for number in range(rounds):
        start, busy, images = time.perf_counter(), time.process_time(), 0
        for batch in epoch(number):
            if not images:
                first_batches.append(time.perf_counter() - start)
            images += len(batch.images)
        rates.append((images / (time.perf_counter() - start), images / (time.process_time() - busy)))
    wall, per_core = (max(column) for column in zip(*rates, strict=True))
    shown = "" if name.startswith("processes") else f"{per_core:6.0f} per processor second"
    print(f"{name:36s} {wall:5.0f} images/s {shown:28s} first batch {1e3 * min(first_batches):5.0f} ms")


class BatchesOfOneEpoch(TorchDataset[Batch]):
    """The loader's batches, for torch's worker processes."""

    def __init__(self, dataset: Dataset, batch: int) -> None:
        order = dataset.order(0)
        self.dataset = dataset
        self.batches = [order[start : start + batch] for start in range(0, len(order), batch)]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Batch:
        images = np.empty((len(self.batches[number]), *self.dataset.info.input_size, 3), np.uint8)
        indices = self.batches[number].tolist()
        loaded = [self.dataset.load(index, 0, out)[0] for index, out in zip(indices, images, strict=True)]
        paths = [self.dataset.sample(index).path for index in indices]
        return Batch.of(images, loaded, [self.dataset.assign(each) for each in loaded], paths)


def process_epochs(dataset: Dataset, batch: int, start: str, keep: bool) -> Callable[[int], Iterable[Batch]]:
    loader = DataLoader(
        BatchesOfOneEpoch(dataset, batch),
        batch_size=None,
        num_workers=2,
        collate_fn=unchanged,
        multiprocessing_context=start,
        persistent_workers=keep,
    )
    return lambda epoch: loader


def unchanged(batch: Any) -> Any:
    return batch


if __name__ == "__main__":
    main()
