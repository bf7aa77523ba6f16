"""Cross-validate: train one run per fold, and evaluate each on the images held out of it.

out/
    start.json               weights that all folds start from, and their batch size
    fold-1/, fold-2/, ...    the run folder of each fold, see `train.run`
    folds.json               AP of each fold, and of all images together
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from lookonce._counted import counted
from lookonce._files import open_input, read_text, write_json_file
from lookonce.config import TrainSettings
from lookonce.darknet.beside import find_weights
from lookonce.detections import Detections
from lookonce.errors import ConfigError, ModelFileError, TrainingError
from lookonce.evaluate.coco import evaluate, without_nan
from lookonce.evaluate.report import Evaluation, evaluate_detections
from lookonce.gate import detect_samples, own_values
from lookonce.model.files import load_info
from lookonce.networks import model_name
from lookonce.recipe import load_settings
from lookonce.runtime.cpu import usable_cores
from lookonce.runtime.detector import Detector
from lookonce.runtime.options import EVALUATION_CONF
from lookonce.runtime.pipeline import Parallel
from lookonce.samples import Sample
from lookonce.seen import digest
from lookonce.train import checkpoint
from lookonce.train.folder import SETTINGS, changes, check_folder
from lookonce.train.reading import after_earlier_training
from lookonce.train.run import Session, train
from lookonce.train.setup import TrainData

ORIGIN, REPORT = "start.json", "folds.json"


@dataclass(frozen=True, slots=True)
class Fold:
    """Result of one fold.

    Attributes:
        model: path of the best model of the fold.
        images: number of held-out images that could be read and evaluated.
        ap: AP on the held-out images; NaN without objects.
        ap50: AP50 on the held-out images; NaN without objects.
    """

    model: Path
    images: int
    ap: float
    ap50: float


@dataclass(frozen=True, slots=True)
class Folds:
    """Result of all folds.

    Attributes:
        folds: result of each fold.
        evaluation: metrics over all images, each evaluated with the model that was not trained on it.
        known: number of these images that the initial model had learned from.
    """

    folds: tuple[Fold, ...]
    evaluation: Evaluation
    known: int = 0

    def describe(self) -> str:
        """Describe in one line how AP varies over the folds."""
        parts = []
        for name in ("AP", "AP50"):
            values = [getattr(each, name.lower()) for each in self.folds]
            known = [value for value in values if not math.isnan(value)]
            spread = f", standard deviation {stdev(known):.3f}" if len(known) > 1 else ""
            parts.append(f"{name} {mean(known):.3f}{spread}" if known else f"{name} –")
        return f"mean of {len(self.folds)} folds: {'; '.join(parts)}"

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers for JSON."""
        rows = [
            {"model": str(each.model), "images": each.images, "ap": each.ap, "ap50": each.ap50}
            for each in self.folds
        ]
        return {"folds": without_nan(rows), "all": self.evaluation.to_dict()}


def fold_folders(out: Path, count: int) -> list[Path]:
    """Return the run folder of each fold, below `out`."""
    return [out / f"fold-{number}" for number in range(1, count + 1)]


def train_folds(
    parts: Sequence[TrainData],
    settings: TrainSettings,
    out: Path,
    session: Session,
    *,
    weights: Path | None = None,
    resume: bool = False,
) -> Folds:
    """Train one run per fold, and evaluate each on its held-out images.

    Args:
        parts: training and held-out images of each fold.
        settings: settings of every run.
        out: folder for the run folders.
        session: console and stop condition; only a single process is supported.
        weights: model that every run starts from; None for random weights.
        resume: whether to continue an earlier cross-validation; finished folds are only evaluated.

    Raises:
        ConfigError: an earlier fold has other settings.
        TrainingError: an earlier fold started from other weights. Or it has other images or boxes, so that
            images held out now may be among those that it has learned from.
        LookonceError: as `train.run.train`.
    """
    folders = fold_folders(out, len(parts))
    begun = [resume and (folder / checkpoint.LAST).exists() for folder in folders]
    for folder, data, is_begun in zip(folders, parts, begun, strict=True):
        file = folder / checkpoint.LAST
        before = load_info(file).training.get("data") if is_begun else None
        if before and before != data.summary():
            raise TrainingError(
                f"{file}: the data or the number of folds changed: expected "
                f"{checkpoint.describe_data(before)}, found {checkpoint.describe_data(data.summary())}: "
                "folds resume only as they started; a new cross-validation needs another folder"
            )
        if not resume:
            check_folder(folder, resume=False)
    record_start(out / ORIGIN, weights, settings.batch, is_begun=any(begun))
    for folder, is_begun in zip(folders, begun, strict=True):
        file = folder / SETTINGS  # has a number in place of `batch: auto`
        if is_begun and (differing := changes(load_settings(file), settings, ["batch"])):
            raise ConfigError(
                f"{file}: folds are resumed with the settings they began with, found "
                f"{'; '.join(differing)}: repeat the first command with --resume"
            )
    known = 0
    folds: list[Fold] = []
    truth: list[Sample] = []
    found: list[Detections] = []
    names = parts[0].names
    for number, (folder, data, again) in enumerate(zip(folders, parts, begun, strict=True), start=1):
        counts = f"{counted(len(data.train), 'image')} to train on, {len(data.val)} held out"
        session.say(f"fold {number} of {len(parts)}: {counts}")
        held_out = len(data.seen.held_out)
        data = after_earlier_training(data, folder / checkpoint.LAST if again else weights, session.console)
        known += held_out - len(data.seen.held_out)
        model = train(data, settings, folder, session, weights=weights, resume=again).model
        measured, detections = detect_all(model, data.val, session)
        metrics = evaluate(measured, detections, names)
        folds.append(Fold(model, len(measured), metrics.ap, metrics.ap50))
        session.say(
            f"fold {number}: AP {metrics.ap:.3f}, AP50 {metrics.ap50:.3f} on "
            f"{counted(len(measured), 'image')}"
        )
        truth += measured
        found += detections
    result = Folds(tuple(folds), evaluate_detections(truth, found, names), known)
    write_json_file(out / REPORT, result.to_dict())
    return result


def record_start(path: Path, weights: Path | None, batch: int | str, *, is_begun: bool) -> None:
    """Write the weights and batch size of all folds or, if a fold has begun, check that they are the same.

    Raises:
        ModelFileError: the weights cannot be read.
        TrainingError: the folds began with other weights or another batch size.
    """
    content = None
    if weights is not None:
        file = find_weights(weights) if weights.suffix.lower() == ".cfg" else weights
        with open_input(file, ModelFileError) as stream:
            content = digest(stream).hex()
    name = "random weights" if weights is None else model_name(weights)
    if not is_begun:
        write_json_file(path, {"weights": name, "hash": content, "batch": batch})
        return
    try:
        began = json.loads(read_text(path, TrainingError))
        same, first, before = began["hash"] == content, str(began["weights"]), began["batch"]
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path}: expected weights, hash and batch: {error!r}") from error
    if not same:
        raise TrainingError(
            f"{path.parent}: expected the weights that the folds began with, {first}; found {name}"
        )
    if before != batch:
        raise TrainingError(
            f"{path.parent}: expected the batch size that the folds began with, {before}; found {batch}"
        )


def detect_all(
    model: Path, samples: Sequence[Sample], session: Session
) -> tuple[list[Sample], list[Detections]]:
    """Run a model on images; return the samples whose image could be read, and their detections."""
    parallel = Parallel.of(usable_cores())
    device, threads = str(session.group.device), torch.get_num_threads()
    try:
        with Detector.open(model, conf=EVALUATION_CONF, threads=parallel.threads, device=device) as detector:
            measured = detect_samples(detector, samples, own_values(detector, samples), parallel)
    finally:
        torch.set_num_threads(threads)  # the detector changed it, but this process trains the next fold
    for problem in measured.unreadable:
        session.say(f"skipped: {problem}")
    return measured.samples, measured.found
