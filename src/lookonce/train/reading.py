"""Read the images of a run, split them into training and validation, and fingerprint them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from lookonce._counted import counted
from lookonce._terminal import progress_bar, say
from lookonce.annotations import GivenData
from lookonce.annotations.report import say_samples
from lookonce.config import TrainSettings
from lookonce.doctor.images import ImageFacts, inspect_all
from lookonce.errors import AnnotationError
from lookonce.metadata import MOST_CLASSES, Training
from lookonce.model.files import load_info
from lookonce.samples import Sample
from lookonce.seen import BYTES, MOST, Seen, fingerprints
from lookonce.train.holdout import HoldOut, folds, hold_out, hold_out_again
from lookonce.train.setup import TrainData


def check_classes(names: Sequence[str], data: Path) -> None:
    """Check that a model can have as many classes as the data.

    Raises:
        AnnotationError: there are more than `MOST_CLASSES`.
    """
    if len(names) > MOST_CLASSES:
        raise AnnotationError(
            f"{data}: expected at most {MOST_CLASSES:,} classes to train on, found {len(names):,}"
        )


def load_data(
    data: GivenData,
    settings: TrainSettings,
    console: Console,
    *,
    record: bool = True,
    resumed: Path | None = None,
) -> TrainData:
    """Return training and validation images; without a validation split, some are held out.

    A test split is never used.

    Args:
        data: annotations.
        settings: share and groups of the images to hold out.
        console: console for the progress bar and the log lines.
        record: whether to read every image file, to keep similar images on one side of the split and to
            record in the model which images it was trained on.
        resumed: checkpoint of the run that is resumed, whose training images are not held out now; None for
            a new run.

    Raises:
        ModelFileError: the checkpoint is damaged.
        AnnotationError: the format is not recognized, there is no image to train on, or there are too many
            classes.
    """
    annotations = data.open()
    learn = annotations.load("train", data.class_names(), data.strict)
    say_samples({"train": learn}, console)
    check_classes(learn.names, data.path)
    if not learn.samples:
        why = f"; the first problem: {learn.problems[0]}" if learn.problems else ""
        raise AnnotationError(f"{data.path}: expected images to train on, found none{why}")
    if "val" in annotations.splits:
        judge = annotations.load("val", learn.names, data.strict)
        say_samples({"val": judge}, console)
        kept, held_out = learn.samples, judge.samples
        prints: dict[Path, bytes] = {}
        if record:
            paths = [sample.path for sample in (*kept, *held_out)]
            with progress_bar(console, transient=True) as progress:
                bar = progress.add_task("reading images", total=len(paths))
                prints = fingerprints(paths, lambda: progress.advance(bar))
    else:
        facts = inspect_images(learn.samples, console) if record else {}
        split = hold_out(learn.samples, settings.holdout, settings.seed, facts, settings.group)
        prints = {path: each.digest[:BYTES] for path, each in facts.items() if each.digest}
        if resumed:
            split = as_before(
                split, learn.samples, settings.holdout, facts, prints, load_info(resumed).training, console
            )
        say(f"no val split: {split.describe()}", console)
        kept, held_out = ([learn.samples[i] for i in part] for part in (split.train, split.held_out))
    seen = Seen.of_images(prints, (each.path for each in kept), (each.path for each in held_out))
    if seen.record() is None:
        say(f"more than {MOST:,} images: the model will not record which it has learned from", console)
    return TrainData(learn.names, kept, held_out, seen)


def as_before(
    split: HoldOut,
    samples: Sequence[Sample],
    share: float,
    facts: Mapping[Path, ImageFacts],
    prints: Mapping[Path, bytes],
    earlier: Training,
    console: Console,
) -> HoldOut:
    """Return the split of a resumed run, in which images keep their side even if others came or went.

    Args:
        split: split of a new run with these images.
        samples: all images.
        share: share of the new images to hold out.
        facts: thumbnail and digest of each image.
        prints: fingerprint of each image that could be read.
        earlier: record of the run so far.
        console: console for messages.
    """
    seen, counts = Seen.of(earlier), earlier.get("data")
    found = {i: prints[sample.path] for i, sample in enumerate(samples) if sample.path in prints}
    learned = {i for i, each in found.items() if each in seen.learned}
    held_out = {i for i, each in found.items() if each in seen.held_out}
    unchanged = (
        counts is not None
        and (counts["images"], counts["validation"]) == (len(split.train), len(split.held_out))
        and {*split.train, *split.held_out} & found.keys() <= learned | held_out
    )
    wrong = learned & {*split.held_out}
    if unchanged or not (wrong or held_out & {*split.train}):
        return split
    again = hold_out_again(split.units, samples, share, facts, learned=learned, held_out=held_out)
    if 2 * len(again.held_out) < len(split.held_out):
        return split  # otherwise too few to validate on; `after_earlier_training` warns
    if wrong:
        what = counted(len(wrong), "image")
        say(f"left out of the validation split: {what} that the run has learned from", console)
    return again


def load_folds(data: GivenData, settings: TrainSettings, count: int, console: Console) -> list[TrainData]:
    """Return the training and held-out images of each fold; a test split is never used.

    Raises:
        AnnotationError: the format is not recognized, there are too many classes, or there are fewer than
            two groups of images.
    """
    annotations = data.open()
    sets = {"train": annotations.load("train", data.class_names(), data.strict)}
    check_classes(sets["train"].names, data.path)
    if "val" in annotations.splits:
        sets["val"] = annotations.load("val", sets["train"].names, data.strict)
    say_samples(sets, console)
    samples = [sample for each in sets.values() for sample in each.samples]
    facts = inspect_images(samples, console)
    splits = folds(samples, count, settings.seed, facts, settings.group)
    if len(splits) < 2:
        what = f"expected two groups of images or more for folds, found {len(splits)}"
        raise AnnotationError(f"{data.path}: {what}")
    prints = {path: each.digest[:BYTES] for path, each in facts.items() if each.digest}
    found = []
    for split in splits:
        kept, held_out = ([samples[i] for i in part] for part in (split.train, split.held_out))
        seen = Seen.of_images(prints, (each.path for each in kept), (each.path for each in held_out))
        found.append(TrainData(sets["train"].names, kept, held_out, seen))
    say(
        f"{len(samples)} images in {len(found)} folds; {splits[0].together} belong to groups that stay "
        "together",
        console,
    )
    return found


def inspect_images(samples: Sequence[Sample], console: Console) -> dict[Path, ImageFacts]:
    """Decode and hash every image with a progress bar."""
    with progress_bar(console, transient=True) as progress:
        bar = progress.add_task("comparing images", total=len(samples))
        return inspect_all([sample.path for sample in samples], lambda: progress.advance(bar))


def after_earlier_training(data: TrainData, model: Path | None, console: Console) -> TrainData:
    """Add the images that the initial model was trained on; say how many images changed sides since then."""
    if model is None or model.suffix.lower() != ".safetensors":
        return data
    earlier = Seen.of(load_info(model).training)
    if known := len(data.seen.held_out & earlier.learned):
        say(
            f"{model} has learned from {known} of the {len(data.val)} validation images: the AP is "
            "optimistic",
            console,
        )
    if moved := len(data.seen.learned & earlier.held_out):
        say(f"{model} held out {moved} of the {len(data.train)} training images for validation", console)
    return replace(data, seen=data.seen.after(earlier))
