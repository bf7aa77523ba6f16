"""`lookonce explain`: one picture's way through one model, as a page, as JSON, or in the terminal."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from lookonce._files import write_text
from lookonce.commands.report import say
from lookonce.config import parse_size
from lookonce.data.formats import load_samples
from lookonce.errors import AnnotationError, ConfigError
from lookonce.explain import Explainer, Explanation
from lookonce.explain.markdown import to_markdown
from lookonce.explain.page import write_page
from lookonce.runtime.postprocess import CONFIDENCE, IOU
from lookonce.samples import Sample, SampleSet


def explain(
    model: Path,
    image: Path,
    out: Path,
    *,
    truth: Path | None = None,
    names: Path | None = None,
    confidence: float = CONFIDENCE,
    iou: float = IOU,
    size: str | None = None,
    json_file: Path | None = None,
    markdown: bool = False,
) -> int:
    """Explain a picture and write what was asked for.

    Args:
        model: a float model: `.safetensors`, `.cfg` beside its weights, or `.onnx` of one of our networks.
        image: the picture.
        out: the page.
        truth: annotations that hold the picture, in any form; classes are matched by name.
        names: file of class names, where the annotations have numbers alone.
        confidence: a detection's score lies above it.
        iou: of suppression.
        size: of the network's input, `416` or `320x416`; None: as the model was made.
        json_file: a place for the records.
        markdown: print the explanation instead of writing the page.

    Returns:
        0.

    Raises:
        LookonceError: model, picture, annotations or settings are wrong.
    """
    console = Console(stderr=markdown)
    explainer = Explainer.open(model, size=_parsed(size), confidence=confidence, iou=iou)
    sample = None if truth is None else _sample_of(image, truth, names, explainer.info.names, console)
    found = explainer(image, sample, features=not markdown or json_file is not None)
    if json_file is not None:
        write_text(json_file, json.dumps(found.to_dict()) + "\n")
    if markdown:
        print(to_markdown(found), end="")
        return 0
    write_page(found, out)
    _say(found, out, console)
    return 0


def _parsed(size: str | None) -> tuple[int, int] | None:
    try:
        return None if size is None else parse_size(size)
    except ValueError as error:
        raise ConfigError(f"--size: {error}") from error


def _sample_of(
    image: Path, data: Path, names: Path | None, model_names: tuple[str, ...], console: Console
) -> Sample:
    """The picture's annotation, class numbers as in the model; other classes are left out aloud."""
    annotated = load_samples(data, names=names)
    sample = _find(image, annotated, data)
    number = {name: i for i, name in enumerate(model_names)}
    theirs = [annotated.names[label] for label in sample.labels]
    known = np.array([name in number for name in theirs], bool)
    if unknown := sorted({name for name in theirs if name not in number}):
        say(
            f"left out: {int((~known).sum())} objects of classes that the model does not know: "
            f"{', '.join(unknown)}",
            console,
        )
    labels = np.array([number[name] for name in theirs if name in number], np.int64)
    return replace(
        sample,
        boxes=sample.boxes[known],
        labels=labels,
        difficult=sample.difficult[known],
        crowd=sample.crowd[known],
    )


def _find(image: Path, annotated: SampleSet, data: Path) -> Sample:
    """The sample of this very file, else the only one of its name.

    Raises:
        AnnotationError: none, or several of that name.
    """
    alike = [sample for sample in annotated.samples if sample.path.name == image.name]
    same = [sample for sample in alike if sample.path.resolve() == image.resolve()]
    if len(same or alike) != 1:
        raise AnnotationError(
            f"{data}: expected the annotation of {image}, found {len(alike)} pictures of this name among "
            f"{len(annotated.samples)}"
        )
    return (same or alike)[0]


def _say(found: Explanation, out: Path, console: Console) -> None:
    detections = found.detections
    count = f"{len(detections)} {'detection' if len(detections) == 1 else 'detections'}"
    say(f"{found.input.file}: {found.candidates.total:,} predictions, {count}", console)
    if found.truth is not None:
        stages = [each.verdict.stage for each in found.truth.objects]
        told = ", ".join(f"{stages.count(stage)} {stage}" for stage in dict.fromkeys(stages))
        say(f"{len(stages)} annotated objects: {told or 'none'}", console)
    say(f"page: {out} ({out.stat().st_size / 1e6:.1f} MB)", console)
