"""`lookonce data check`: the doctor."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lookonce._files import write_text
from lookonce.annotations import check_target, load_splits
from lookonce.commands.opening import input_size
from lookonce.commands.report import say
from lookonce.doctor.diagnose import Diagnosis, diagnose, images_of
from lookonce.doctor.findings import Finding
from lookonce.doctor.fix import write_fixed
from lookonce.doctor.kinds import KINDS, SEVERITIES
from lookonce.doctor.page import check_page, severity_counts
from lookonce.doctor.planned_network import PlannedNetwork
from lookonce.errors import AnnotationError
from lookonce.samples import Sample, SampleSet

SHOWN = 3  # places of a kind that are printed


def check(
    data: Path,
    out: Path,
    *,
    names: Path | None = None,
    model: str | None = None,
    size: str | None = None,
    detector: Path | None = None,
    fix: Path | None = None,
    as_json: bool = False,
) -> int:
    """Examine every image and box; write the page; say what was found.

    Args:
        data: annotations, in any form.
        out: folder of `report.html` and `findings.json`.
        names: file of class names, where the annotations have numbers alone.
        model: the network that is going to be trained; with `detector`, that one's.
        size: of its input.
        detector: a trained model, whose doubts about the labels are listed.
        fix: a folder for a corrected copy.
        as_json: print the findings as JSON.

    Returns:
        0 sound, or nothing that needs a person; 1 something does; 130 stopped by Ctrl-C.

    Raises:
        AnnotationError: unusable annotations, or `fix` is no new or empty folder.
        ConfigError: an unknown model, a wrong size.
        ModelFileError: `detector` is no model.
    """
    console = Console(stderr=True)
    if fix is not None:
        check_target("voc", fix)
        if out.absolute().is_relative_to(fix.absolute()):
            raise AnnotationError(f"{out}: expected a place for the report outside the corrected copy")
    with ExitStack() as stack:
        network, doubted = _network(model, size, detector, stack)
        sets = load_splits(data, names)
        _check_images(data, sets)
        for found in sets.values():
            say(found.describe(), console)
        try:
            diagnosis = _examine(sets, network, doubted, console)
            write_text(out / "findings.json", json.dumps(as_tree(diagnosis), indent=1))
            write_text(out / "report.html", check_page(str(data), diagnosis))
            if fix is not None:
                written = write_fixed(diagnosis, fix)
        except KeyboardInterrupt:
            say(
                f"stopped: nothing in {out} is half-written, and there is no half of a corrected copy",
                console,
            )
            return 130
    if as_json:
        print(json.dumps(as_tree(diagnosis)))
    else:
        say_findings(diagnosis, Console())
    say(f"page: {out / 'report.html'}", console)
    if fix is not None:
        say(f"corrected copy: {written.data}; {written.changes} changes, {written.left} left, "
            f"each in {fix / 'changes.csv'}", console)  # fmt: skip
    return int(diagnosis.needs_person)


def as_tree(diagnosis: Diagnosis) -> dict[str, Any]:
    """Everything found, for machines."""
    by_kind = diagnosis.by_kind()
    return {
        "recognised": {split: found.describe() for split, found in diagnosis.sets.items()},
        "network": {"model": diagnosis.network.model, "size": diagnosis.network.size},
        "severities": severity_counts(diagnosis.findings),
        "counts": {kind: len(found) for kind, found in by_kind.items()},
        "claims_lost": diagnosis.claims_lost,
        "advice": {
            "size": diagnosis.advice.size_reason,
            "model": diagnosis.advice.model_reason,
            "anchors": diagnosis.advice.anchor_reason,
        },
        "findings": [_entry(finding) for finding in diagnosis.findings],
    }


def say_findings(diagnosis: Diagnosis, console: Console) -> None:
    """Print the kinds, gravest first, with the first places of each."""
    for kind, found in diagnosis.by_kind().items():
        about = KINDS[kind]
        say(f"\n{about.title}: {len(found)} ({SEVERITIES[about.severity]})", console)
        for finding in found[:SHOWN]:
            say(f"  {finding.place}: {finding.what}", console)
        if len(found) > SHOWN:
            say(f"  and {len(found) - SHOWN} more", console)
        say(f"  {about.remedy}", console)
    advice = diagnosis.advice
    for title, reason in (
        ("Input size", advice.size_reason),
        ("Model", advice.model_reason),
        ("Anchors", advice.anchor_reason),
    ):
        say(f"\n{title}: {reason}", console)
    totals = severity_counts(diagnosis.findings)
    say("\n" + ", ".join(f"{totals[severity]} {words}" for severity, words in SEVERITIES.items()), console)


Doubted = Callable[[SampleSet, Sample], Iterator[Finding]]


def _network(
    model: str | None, size: str | None, detector: Path | None, stack: ExitStack
) -> tuple[PlannedNetwork, Doubted | None]:
    """Return the network to be trained, and what a trained model doubts about the labels of an image."""
    wanted = input_size(size)
    if detector is None:
        return PlannedNetwork.published(model or "yolov3-tiny", wanted or (416, 416)), None
    from lookonce.doctor.label_doubts import ANYTHING, label_doubts
    from lookonce.runtime.detector import Detector

    opened = stack.enter_context(Detector.open(detector, size=wanted, conf=ANYTHING))
    if model is not None:
        return PlannedNetwork.published(model, wanted or opened.size), partial(label_doubts, opened)
    return PlannedNetwork.of_model(opened.info, opened.size), partial(label_doubts, opened)


def _check_images(data: Path, sets: dict[str, SampleSet]) -> None:
    """Where every image was skipped, why is just what is asked for."""
    if not any(found.samples or found.problems for found in sets.values()):
        raise AnnotationError(f"{data}: expected annotated images, found none")


def _examine(
    sets: dict[str, SampleSet], network: PlannedNetwork, doubted: Doubted | None, console: Console
) -> Diagnosis:
    columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        passes = 1 if doubted is None else 2
        task = progress.add_task("images", total=passes * len(images_of(sets)))
        return diagnose(sets, network, lambda: progress.advance(task), doubted)


def _entry(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "severity": KINDS[finding.kind].severity,
        "place": finding.place,
        "what": finding.what,
        "image": None if finding.image is None else str(finding.image),
        "boxes": finding.boxes,
        "others": [str(path) for path in finding.others],
    }
