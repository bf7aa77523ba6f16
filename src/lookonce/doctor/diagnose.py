"""Run all checks on the splits of a data set and collect the findings."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lookonce._files import as_given
from lookonce.doctor.advice import Advice, advise
from lookonce.doctor.boxes import lost_objects, misshapen_boxes, repeated_boxes, small_boxes
from lookonce.doctor.classes import class_findings
from lookonce.doctor.duplicates import ListedImage, duplicate_findings
from lookonce.doctor.findings import Finding, with_line
from lookonce.doctor.images import ImageFacts, image_findings, inspect_all
from lookonce.doctor.kinds import KINDS
from lookonce.doctor.planned_network import PlannedNetwork
from lookonce.samples import Sample, SampleSet

SORTED_BY_FACTS = ("unreadable",)  # kinds of reader problems that inspecting the file may refine


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Result of a check.

    Attributes:
        sets: samples as read, by split.
        learn: name of the training split.
        network: network of the planned training run.
        facts: facts about every image file, by path.
        findings: defects in the order of their kinds, and within a kind by descending weight.
        claims_lost: number of cells and anchors that a later object took from an earlier one.
        advice: advice on input size, model and anchors.
    """

    sets: Mapping[str, SampleSet]
    learn: str
    network: PlannedNetwork
    facts: Mapping[Path, ImageFacts]
    findings: tuple[Finding, ...]
    claims_lost: int
    advice: Advice

    def by_kind(self) -> dict[str, list[Finding]]:
        """Group the findings by kind."""
        grouped = defaultdict(list)
        for finding in self.findings:
            grouped[finding.kind].append(finding)
        return dict(grouped)

    @property
    def needs_person(self) -> bool:
        """Return whether any defect needs a person's decision."""
        return any(KINDS[finding.kind].severity == "person" for finding in self.findings)


def images_of(sets: Mapping[str, SampleSet]) -> list[Path]:
    """Return the image files to inspect: those of the samples, and unreadable ones that readers skipped."""
    paths = [sample.path for found in sets.values() for sample in found.samples]
    for problem in (problem for found in sets.values() for problem in found.problems):
        if problem.kind in SORTED_BY_FACTS and problem.image:
            paths.append(problem.image)
    return list(dict.fromkeys(paths))


def diagnose(
    sets: Mapping[str, SampleSet],
    network: PlannedNetwork,
    done: Callable[[], None] = lambda: None,
    doubted: Callable[[SampleSet, Sample], Iterator[Finding]] | None = None,
) -> Diagnosis:
    """Inspect every image and every box.

    Args:
        sets: samples and problems of the readers, by split.
        network: network of the planned training run.
        done: function called after each image and, with `doubted`, again after its detections.
        doubted: function that yields findings about an image's labels with which a model disagrees; None
            for none.
    """
    facts = inspect_all(images_of(sets), done)
    learn = split_to_learn_from(sets)
    listed = list_images(sets)
    listed_anywhere = {sample.path for found in sets.values() for sample in found.samples}
    claims_lost = 0
    findings = [
        *_of_readers(sets, facts),
        *image_findings(each for path, each in facts.items() if path in listed_anywhere),
        *class_findings(sets, learn),
        *duplicate_findings(facts, listed),
    ]
    each_once: dict[Path, tuple[SampleSet, Sample]] = {}
    for found in sets.values():
        for sample in found.samples:
            each_once.setdefault(sample.path, (found, sample))
    for found, sample in each_once.values():
        findings.extend(repeated_boxes(found, sample))
        findings.extend(small_boxes(found, sample, network))
        findings.extend(misshapen_boxes(found, sample, network))
        lost, objects = lost_objects(found, sample, network)
        claims_lost += lost
        findings.extend(objects)
        if doubted and not facts[sample.path].fault:
            findings.extend(doubted(found, sample))
            done()
    order = {kind: number for number, kind in enumerate(KINDS)}
    findings.sort(key=lambda each: (order[each.kind], -each.weight))  # stable: ties keep file order
    findings = [replace(each, place=as_given(each.place), what=as_given(each.what)) for each in findings]
    advice = advise(sets[learn].samples, network)
    return Diagnosis(sets, learn, network, facts, tuple(findings), claims_lost, advice)


def split_to_learn_from(sets: Mapping[str, SampleSet]) -> str:
    """Return the training split: `train`, else `trainval`, else the first split."""
    return next((split for split in ("train", "trainval") if split in sets), next(iter(sets)))


def list_images(sets: Mapping[str, SampleSet]) -> dict[Path, ListedImage]:
    """Return the sample and the splits of each image, without `trainval` if there is a `train`."""
    splits: dict[Path, set[str]] = defaultdict(set)
    samples: dict[Path, Sample] = {}
    for split, found in sets.items():
        if split == "trainval" and "train" in sets:
            continue
        for sample in found.samples:
            splits[sample.path].add(split)
            samples.setdefault(sample.path, sample)
    return {path: ListedImage(sample, frozenset(splits[path])) for path, sample in samples.items()}


def _of_readers(sets: Mapping[str, SampleSet], facts: Mapping[Path, ImageFacts]) -> Iterator[Finding]:
    """Yield the problems that the readers reported as findings."""
    for problem in dict.fromkeys(problem for found in sets.values() for problem in found.problems):
        kind: str = problem.kind if problem.kind in KINDS else "annotation"
        known = facts.get(problem.image) if problem.image else None
        if kind in SORTED_BY_FACTS and known and known.cut_short:
            kind = "truncated"
        boxes = (problem.box,) if problem.box and problem.kind != "not-numbers" else ()
        yield Finding(kind, with_line(problem.place), problem.what, problem.image, boxes)
