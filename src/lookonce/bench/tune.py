"""Find the fastest way to run a model here: check the accuracy of every engine and precision, then time.

```
   model + data ─► candidates ─► AP and detections against float32 ─► rejected, or timed in turn ─► SpeedPlan
                   (int8 ones     (stored in unfinished.json, so that
                    calibrated)    a stopped run can be resumed)
```
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import count, cycle, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from lookonce._counted import counted
from lookonce._files import read_text, replacing_together, write_text
from lookonce._optional import require
from lookonce._outputs import remove_leftovers
from lookonce._terminal import progress_bar, say
from lookonce.bench.candidates import FLOAT_GRAPH, NCNN_GRAPH, Candidate, candidates_here
from lookonce.bench.contenders import BenchCase, Run
from lookonce.bench.measure import BenchEntry, measure
from lookonce.darknet.ncnn_graph import write_ncnn
from lookonce.detections import Detections
from lookonce.errors import AnnotationError, ConfigError, ModelFileError
from lookonce.evaluate.coco import evaluate
from lookonce.export.files import write_onnx
from lookonce.export.graph import export_graph
from lookonce.export.int8 import Int8, choose_images, watched, write_int8
from lookonce.export.quantize import Inputs
from lookonce.export.source import read_source
from lookonce.gate import Detected, detect_samples, own_values
from lookonce.geometry.boxes import pairwise_iou
from lookonce.images import read_image
from lookonce.metadata import ModelInfo
from lookonce.runtime.backends import Arithmetic, check_weights_option, engine_file, load_engine
from lookonce.runtime.cpu import this_cpu
from lookonce.runtime.detector import Detector
from lookonce.runtime.options import CONF, EVALUATION_CONF, DetectOptions
from lookonce.runtime.plans import PLAN, PLAN_LIMIT, SpeedPlan, Way, engine_versions, plan_folder
from lookonce.samples import Sample
from lookonce.values import measure_values

UNFINISHED = "unfinished.json"
AGREEMENT = 0.95  # minimum share of detections in common with float32
SAME = 0.5  # minimum IoU of two boxes that count as the same detection
TIMED_IMAGES = 4
PER_CALL = 4  # images per thread in a throughput batch, so that starting the thread hardly counts
# CPUs with any of these sum int8 products in 32 bits, so that the first layer may be int8 too.
WIDE_SUMS = {"avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"}


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The accuracy of a candidate.

    Attributes:
        ap: AP on the data.
        agreement: share of detections in common with float32.
    """

    ap: float
    agreement: float


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """Options of tuning.

    Attributes:
        data: annotations, with `train` for calibration and `val` for the gate, as for `Int8.calibrate`.
        max_drop: largest accepted loss of AP.
        names: file with class names, for annotations that only have class numbers.
        weights: weights of a Darknet `.cfg`; None for the file beside it.
        rounds: number of timed turns per candidate.
        root: folder for the plan; None for the cache.
    """

    data: Path
    max_drop: float
    names: Path | None = None
    weights: Path | None = None
    rounds: int = 5
    root: Path | None = None


def tune(model: Path, options: TuneOptions, console: Console) -> SpeedPlan:
    """Measure every way to run a model here, and write the plan.

    Args:
        model: any model file that lookonce reads.
        options: data, accepted loss and other options.
        console: console for messages and progress.

    Raises:
        LookonceError: the model or the data cannot be used, or no engine could be timed. An earlier plan is
            kept then, as it is if the process is killed.
        MissingExtraError: the evaluation package is not installed.
    """
    require("faster_coco_eval", "train")
    check_weights_option(model, options.weights)
    path = engine_file(model, options.weights)
    with closing(load_engine(path)) as opened:
        info = opened.info
    inputs, samples = choose_images(Int8(options.data, names=options.names), info, console)
    if samples is None:
        raise AnnotationError(f"{options.data}: expected annotations, found only images")
    folder = plan_folder(path, options.root)
    folder.mkdir(parents=True, exist_ok=True)
    progress = _Unfinished.open(folder, samples, inputs, console)
    files = progress.path.parent
    candidates = list(candidates_here(model, path, info, console))
    wide_sums = not WIDE_SUMS.isdisjoint(this_cpu().instructions or ())
    for file in dict.fromkeys(each.file for each in candidates if each.file):
        if not (files / file).exists():
            source = read_source(model, options.weights)
            remove_leftovers(files / file)
            if file == NCNN_GRAPH:
                try:
                    with replacing_together(files / file) as target:
                        write_ncnn(source.network, source.weights, source.info, target)
                except ModelFileError as error:
                    say(f"ncnn: {error}, so not tried", console)
                    candidates = [each for each in candidates if each.file != file]
                continue
            graph = export_graph(source)
            with replacing_together(files / file) as target:
                if file == FLOAT_GRAPH:
                    write_onnx(graph, target)
                else:
                    watch = watched(console, f"calibrating {file}")
                    write_int8(graph, inputs, target, watch, symmetric="symmetric" in file, first=wide_sums)
    tuning = Tuning(path, files, info, samples, options, console)
    ways = tuning.gate(candidates, progress)
    recipes = [way.recipe for way in ways]
    timed = tuple(sorted(tuning.time(ways), key=lambda way: recipes.index(way.recipe)))
    cpu, versions, data = this_cpu(), engine_versions(), str(options.data)
    made = SpeedPlan(cpu, versions, data, options.max_drop, timed, folder, files.name)
    if not made.timed:
        raise ModelFileError(f"{model}: no engine could be timed: {timed[0].rejected}")
    made.write()  # from here on, the earlier plan and its files are not used
    progress.path.unlink(missing_ok=True)
    for each in folder.iterdir():
        if each.is_dir() and each != files:
            shutil.rmtree(each, ignore_errors=True)
        elif not each.is_dir() and each.name != PLAN:
            each.unlink(missing_ok=True)
    return made


def agreement(expected: Sequence[Detections], found: Sequence[Detections]) -> float:
    """Return the share of detections above `CONF`, on both sides, with a match on the other side.

    A match is a box of the same class with an IoU of at least `SAME` and a score above half of `CONF`;
    otherwise, each score that barely crosses the threshold would count. Without detections, the share is 1.
    """
    alike = total = 0
    for pair in zip(expected, found, strict=True):
        for one, other in (pair, pair[::-1]):
            sure = one[one.scores > CONF]
            others = other[other.scores > CONF / 2]
            total += len(sure)
            if len(others):
                same = (pairwise_iou(sure.boxes, others.boxes) >= SAME) & (
                    sure.labels[:, None] == others.labels
                )
                alike += int(same.any(axis=1).sum())
    return alike / total if total else 1.0


@dataclass(slots=True)
class _Unfinished:
    """Accuracies measured so far, stored one by one so that a resumed run need not repeat them.

    Attributes:
        path: file of the accuracies.
        about: hash of everything that determines them.
        found: accuracy of each candidate, by label.
    """

    path: Path
    about: str
    found: dict[str, Accuracy]

    @classmethod
    def open(cls, folder: Path, samples: Sequence[Sample], inputs: Inputs, console: Console) -> "_Unfinished":
        """Read the results of an unfinished run with the same data and versions, or else begin a folder.

        Unfinished runs with other data or versions are deleted; the plan in `folder` and its files are kept.
        """
        images = [(str(each.path), each.path.stat().st_mtime_ns) for each in samples]
        digest = hashlib.sha256(json.dumps([images, engine_versions()], sort_keys=True).encode())
        for each in samples:
            digest.update(each.annotation_bytes() + each.difficult.tobytes())
        digest.update(inputs.tobytes())
        about = digest.hexdigest()
        try:
            used = SpeedPlan.read(folder).files
        except ConfigError:  # none, or a damaged one
            used = ""
        for earlier in folder.iterdir():
            if not earlier.is_dir() or earlier.name == used:
                continue
            path = earlier / UNFINISHED
            try:
                tree = json.loads(read_text(path, ConfigError, limit=PLAN_LIMIT))
                found = {name: Accuracy(**each) for name, each in tree["found"].items()}
                if tree["about"] == about:
                    say(f"resuming: {len(found)} candidates were compared by an earlier run", console)
                    return cls(path, about, found)
            except (ConfigError, ValueError, TypeError, KeyError, AttributeError):
                pass  # no such file, or a damaged one
            shutil.rmtree(earlier)
        begun = next(place for number in count(1) if not (place := folder / str(number)).exists())
        begun.mkdir()
        made = cls(begun / UNFINISHED, about, {})
        made.store()
        return made

    def store(self) -> None:
        """Write the file."""
        found = {name: asdict(each) for name, each in self.found.items()}
        write_text(self.path, json.dumps({"about": self.about, "found": found}))


@dataclass(frozen=True, slots=True)
class Tuning:
    """Measures the accuracy and the time of each way to run a model.

    Attributes:
        path: file that engines run.
        folder: folder with the files of the candidates.
        info: description of the model.
        samples: annotated images to measure on.
        options: data, accepted loss and other options.
        console: console for messages and progress.
    """

    path: Path
    folder: Path
    info: ModelInfo
    samples: Sequence[Sample]
    options: TuneOptions
    console: Console

    def gate(self, candidates: Sequence[Candidate], progress: _Unfinished) -> list[Way]:
        """Measure the AP and agreement of each candidate, and reject those that lose too much."""
        reference: list[Detections] = []
        ways = []
        for number, candidate in enumerate(candidates):
            way = Way(candidate.backend, candidate.precision, 1, 1, candidate.file)
            try:
                # the reference is run again if others still have to be compared with its detections
                known = candidate.label in progress.found
                if not known or (number == 0 and len(progress.found) < len(candidates)):
                    measured, ap = self.detect(way, candidate.label)
                    if number == 0:
                        reference = measured.found
                        for problem in measured.unreadable:
                            say(f"skipped: {problem}", self.console)
                    progress.found[candidate.label] = Accuracy(ap, agreement(reference, measured.found))
                    progress.store()
            except ModelFileError as error:
                if number == 0:  # without a reference, nothing can be compared
                    raise
                ways.append(replace(way, rejected=str(error)))
                continue
            own, first = progress.found[candidate.label], progress.found[candidates[0].label]
            rejected = ""
            if not first.ap - own.ap <= self.options.max_drop:  # NaN is rejected
                rejected = f"AP {own.ap:.4f}, not {first.ap:.4f}"
            elif own.agreement < AGREEMENT:
                rejected = f"{own.agreement:.1%} of the detections in common"
            ways.append(replace(way, ap=own.ap, agreement=own.agreement, rejected=rejected))
        return ways

    def detect(self, way: Way, label: str) -> tuple[Detected[Detections], float]:
        """Return the detections on all images that can be read, and their AP."""
        with (
            open_way(way, self.path, self.folder, None, EVALUATION_CONF) as detector,
            progress_bar(self.console) as progress,
        ):
            bar = progress.add_task(label, total=len(self.samples))
            values = own_values(detector, self.samples)
            detected = detect_samples(detector, self.samples, values, done=lambda: progress.advance(bar))
            ap = evaluate(detected.samples, detected.found, detector.names).ap
        if np.isnan(ap):
            where = counted(len(detected.samples), "image")
            raise AnnotationError(f"expected objects to measure AP on, found none in {where}")
        return detected, ap

    def time(self, ways: Sequence[Way]) -> Iterator[Way]:
        """Yield all ways, the accepted ones timed in turn: on all cores, half, one, and an image per core."""
        cores = this_cpu().cores
        images = [sample.path for sample in self.samples[:TIMED_IMAGES]]
        accepted = [way for way in ways if not way.rejected]
        plans = [(threads, 1) for threads in dict.fromkeys((cores, max(1, cores // 2), 1))]
        plans += [(1, cores)] if cores > 1 else []
        yield from (way for way in ways if way.rejected)
        with progress_bar(self.console) as progress:
            bar = progress.add_task("timing", total=len(plans) * len(accepted) * (1 + self.options.rounds))
            for threads, calls in plans:
                batch = calls * PER_CALL if calls > 1 else 1
                planned = [replace(way, threads=threads, calls=calls) for way in accepted]
                entries = [
                    BenchEntry(str(way), Timed(way, self.path, self.folder, tuple(images))) for way in planned
                ]
                results = measure(
                    entries,
                    BenchCase(self.info.input_size, batch, threads),
                    rounds=self.options.rounds,
                    advance=lambda label: progress.update(bar, advance=1, description=label),
                )
                for way, result in zip(planned, results, strict=True):
                    if result.error:
                        yield replace(way, rejected=result.error)
                    else:  # the best round, because a slow minute may affect only some of the rows
                        best = min(float(np.median(turn)) for turn in result.turns)
                        yield replace(way, milliseconds=best / batch)


@dataclass(frozen=True, slots=True)
class Timed:
    """Opens a way to run the model in a separate process, to be timed from pixels in memory to detections.

    Attributes:
        way: engine, precision, threads and calls.
        path: file that engines run.
        folder: folder with the files of the candidates.
        images: paths of images to detect on, in turn.
    """

    way: Way
    path: Path
    folder: Path
    images: tuple[Path, ...]

    def __call__(self, case: BenchCase) -> Run:
        """Return the function to time, which processes `case.batch` images."""
        detector = open_way(self.way, self.path, self.folder, self.way.threads, CONF)
        pixels = in_memory(detector, self.images)
        if self.way.calls == 1:
            return lambda: detector(next(pixels))
        pool = ThreadPoolExecutor(self.way.calls)
        return lambda: list(pool.map(detector, islice(pixels, case.batch)))


def in_memory(detector: Detector, images: Sequence[Path]) -> Iterator[NDArray[np.uint8]]:
    """Read images with a model's range of values, and return an endless iterator over their pixels."""
    values, _ = measure_values(images, detector.info.values)
    return cycle([read_image(path, values) for path in images])


def open_way(way: Way, path: Path, folder: Path, threads: int | None, conf: float) -> Detector:
    """Open a model in one of its ways, with some threads; None lets the engine decide."""
    arithmetic: Arithmetic = way.arithmetic
    backend = load_engine(folder / way.file if way.file else path, way.backend, threads, arithmetic, "cpu")
    return Detector(backend, DetectOptions(conf=conf))
