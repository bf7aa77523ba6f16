"""`lookonce data check`: find mistakes in images and boxes, and write a page, a list and a corrected copy."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from lookonce._files import write_json_file, write_text
from lookonce._outputs import Outputs
from lookonce._terminal import progress_bar, say, terminal
from lookonce.annotations import GivenData, check_target, load_splits
from lookonce.commands import options as shared
from lookonce.doctor.diagnose import Diagnosis, diagnose, images_of
from lookonce.doctor.findings import Finding
from lookonce.doctor.fix import write_fixed
from lookonce.doctor.kinds import KINDS, SEVERITIES
from lookonce.doctor.page import check_page, severity_counts
from lookonce.doctor.planned_network import PlannedNetwork
from lookonce.errors import AnnotationError, ConfigError
from lookonce.networks import MODELS, START, model_path
from lookonce.samples import Sample, SampleSet

SHOWN = 3  # places to print for each kind of finding
MOST_INDENTED = 10_000  # findings; for more, JSON is not indented, which would take several times as long


def data_check(
    data: shared.DataArgument,
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("runs/check"),
    model: Annotated[
        str | None,
        typer.Option(
            help=f"Network to be trained: {MODELS}.",
            show_default=f"that of --detector, else {START}",
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="Network input: 416, or 320x416 (height x width).",
            show_default="that of --detector or of the .cfg, else 416",
        ),
    ] = None,
    detector: Annotated[
        Path | None,
        typer.Option(parser=model_path, help="Trained model, to list the labels that disagree with it."),
    ] = None,
    fix: Annotated[
        Path | None, typer.Option(metavar="OUT", help="New or empty folder for a corrected copy.")
    ] = None,
    names: shared.NamesOption = None,
    images: shared.ImagesOption = None,
    json_to: shared.JsonOption = None,
    force: shared.ForceOption = False,
) -> int:
    """Find mistakes in images and boxes; the exit code is 1 if some need a decision.

    Example: lookonce data check my-voc/ --size 416 --out runs/check --fix my-voc-fixed
    """
    console = terminal(stderr=True)
    if fix is not None:
        check_target("voc", fix)
        if out.absolute().is_relative_to(fix.absolute()):
            raise AnnotationError(f"{out}: expected a place for the report outside the corrected copy")
    inputs = [path for path in (data, detector, names) if path]
    with ExitStack() as stack:
        files = [shared.json_file(json_to)]
        stack.enter_context(Outputs("data check", folder=out, files=files, inputs=inputs, force=force))
        stack.enter_context(Outputs("data check --fix", folder=fix, inputs=inputs))
        network, doubted = plan_network(model, size, detector, stack)
        sets = load_splits(data, names, images=images)
        # if all images were skipped, continue, because the findings have the reasons
        if not any(found.samples or found.problems for found in sets.values()):
            raise AnnotationError(f"{data}: expected annotated images, found none")
        for found in sets.values():
            say(found.describe(), console)
        try:
            with progress_bar(console, transient=True) as progress:
                passes = 1 if doubted is None else 2
                task = progress.add_task("images", total=passes * len(images_of(sets)))
                diagnosis = diagnose(sets, network, lambda: progress.advance(task), doubted)
            indent = 1 if len(diagnosis.findings) <= MOST_INDENTED else None
            write_json_file(out / "findings.json", _tree(diagnosis), indent=indent)
            write_text(out / "report.html", check_page(str(data), diagnosis))
            written = None if fix is None else write_fixed(diagnosis, fix)
            if json_to is not None:
                shared.write_json(json_to, _tree(diagnosis), indent=None)
        except KeyboardInterrupt:
            say(
                f"stopped: {out} has no partial files, and no corrected copy was written",
                console,
            )
            return 130
    if json_to != shared.STANDARD_OUTPUT:
        _say_findings(diagnosis, terminal())
    say(f"page: {out / 'report.html'}", console)
    if fix is not None and written is not None:
        say(
            f"corrected copy: {written.data}; {written.changes} changes, {written.left} left, "
            f"each in {fix / 'changes.csv'}",
            console,
        )
    command = ["train", data if written is None else written.data]
    advised = list(diagnosis.advice.settings)  # a size or model given by the user replaces the advice
    settings = ["--model", model] if model else []
    settings += ["--size", size, *advised[2:]] if size is not None else advised
    again = GivenData(data, names, images) if written is None else None  # the copy needs no such options
    say(f"to train on it: {shared.command_line(*command, *settings, data=again)} --out runs/mine", console)
    return int(diagnosis.needs_person)


def plan_network(
    model: str | None, size: str | None, detector: Path | None, stack: ExitStack
) -> tuple[PlannedNetwork, Callable[[SampleSet, Sample], Iterator[Finding]] | None]:
    """Return the network of the planned run, and a function that finds labels at odds with a detector.

    Args:
        model: network to train; None for that of the detector, or for the default.
        size: input size as given by the user; None for that of the detector or network.
        detector: trained model to compare the labels with; None for no such function.
        stack: receives the opened detector, to close it.

    Raises:
        ConfigError: the network or the size cannot be used.
    """
    wanted, doubted, network = shared.input_size(size), None, None
    if detector is not None:
        from lookonce.doctor.label_doubts import ANYTHING, label_doubts

        options = shared.read_options(size=size, conf=ANYTHING)
        opened = stack.enter_context(shared.open_detector(detector, options, None))
        doubted = partial(label_doubts, opened)
        network, wanted = PlannedNetwork.of_model(opened.info, opened.size), opened.size
    if model is not None or network is None:
        try:
            network = PlannedNetwork.published(str(model_path(START)) if model is None else model, wanted)
        except ConfigError as error:
            raise ConfigError(f"--{str(error).removeprefix('--')}") from error
    return network, doubted


def _tree(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return all findings as a tree for JSON."""
    by_kind = diagnosis.by_kind()
    return {
        "recognized": {split: found.describe() for split, found in diagnosis.sets.items()},
        "network": {"model": diagnosis.network.model, "size": diagnosis.network.size},
        "severities": severity_counts(diagnosis.findings),
        "counts": {kind: len(found) for kind, found in by_kind.items()},
        "claims_lost": diagnosis.claims_lost,
        "advice": {
            "size": diagnosis.advice.size_reason,
            "model": diagnosis.advice.model_reason,
            "anchors": diagnosis.advice.anchor_reason,
        },
        "findings": [
            {
                "kind": finding.kind,
                "severity": KINDS[finding.kind].severity,
                "place": finding.place,
                "what": finding.what,
                "image": None if finding.image is None else str(finding.image),
                "boxes": finding.boxes,
                "others": [str(path) for path in finding.others],
            }
            for finding in diagnosis.findings
        ],
    }


def _say_findings(diagnosis: Diagnosis, console: Console) -> None:
    """Print the kinds of findings, the most serious first, with the first places of each."""
    for kind, found in diagnosis.by_kind().items():
        about = KINDS[kind]
        say("", console)
        say(f"{about.title}: {len(found)} ({SEVERITIES[about.severity]})", console)
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
        say("", console)
        say(f"{title}: {reason}", console)
    totals = severity_counts(diagnosis.findings)
    say("", console)
    say(", ".join(f"{totals[severity]} {words}" for severity, words in SEVERITIES.items()), console)
