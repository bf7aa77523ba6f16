"""HTML page of `data check`, which explains each kind of defect and shows its worst cases as images."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lookonce.doctor.charts import plots
from lookonce.doctor.diagnose import Diagnosis
from lookonce.doctor.finding_images import finding_image
from lookonce.doctor.findings import Finding
from lookonce.doctor.kinds import KINDS, SEVERITIES, Kind, Severity
from lookonce.eight_bits import Values
from lookonce.pages.render import jpeg_url, render
from lookonce.samples import Sample

IMAGES: dict[Severity, int] = {"person": 12, "look": 8, "info": 4}  # most figures per kind
PLACES = 300  # most places listed per kind; findings.json has all of them


@dataclass(frozen=True, slots=True)
class Figure:
    """Figure of the page.

    Attributes:
        url: data URL; empty if the image cannot be shown.
        place: place of the first finding in the image.
        what: description of that finding.
        more: number of further findings of the kind in the image.
        several: whether the figure shows several images side by side.
    """

    url: str
    place: str
    what: str
    more: int
    several: bool


@dataclass(frozen=True, slots=True)
class KindSection:
    """Section of the page about one kind of defect, with the number of its findings."""

    key: str
    kind: Kind
    count: int
    figures: tuple[Figure, ...]
    places: tuple[Finding, ...]


def check_page(title: str, diagnosis: Diagnosis) -> str:
    """Return the page as HTML."""
    samples = {sample.path: sample for found in diagnosis.sets.values() for sample in found.samples}
    sections = [
        _section(key, found, samples, diagnosis.network.values) for key, found in diagnosis.by_kind().items()
    ]
    learn = diagnosis.sets[diagnosis.learn]
    return render(
        "check.html",
        title=title,
        described={split: found.describe() for split, found in diagnosis.sets.items()},
        learn=diagnosis.learn,
        severities=SEVERITIES,
        sections=sections,
        totals=severity_counts(diagnosis.findings),
        claims_lost=diagnosis.claims_lost,
        advice=diagnosis.advice,
        plots=plots(learn, diagnosis.network, diagnosis.advice),
    )


def severity_counts(findings: Sequence[Finding]) -> dict[Severity, int]:
    """Count findings by severity."""
    severities = [KINDS[finding.kind].severity for finding in findings]
    return {severity: severities.count(severity) for severity in SEVERITIES}


def _section(
    key: str, findings: Sequence[Finding], samples: Mapping[Path, Sample], values: Values | None
) -> KindSection:
    by_image: dict[Path, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.image is not None:
            by_image[finding.image].append(finding)
    figures = []
    for first, *others in list(by_image.values())[: IMAGES[KINDS[key].severity]]:
        image = finding_image([first, *others], samples, values)
        url = "" if image is None else jpeg_url(image)
        figures.append(Figure(url, first.place, first.what, len(others), bool(first.others)))
    return KindSection(key, KINDS[key], len(findings), tuple(figures), tuple(findings[:PLACES]))
