"""Everything at once: from the splits of a data set to the list of its defects."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lookonce.doctor.advice import Advice, advise
from lookonce.doctor.boxes import lost_objects, misshapen_boxes, repeated_boxes, small_boxes
from lookonce.doctor.classes import class_findings
from lookonce.doctor.duplicates import Listed, duplicate_findings
from lookonce.doctor.findings import Corners, Finding, with_line
from lookonce.doctor.images import ImageFacts, image_findings, inspect_all
from lookonce.doctor.kinds import KINDS
from lookonce.doctor.planned_network import PlannedNetwork
from lookonce.samples import Problem, Sample, SampleSet

SORTED_BY_FACTS = ("unreadable",)  # problems that a look at the file itself sorts better


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found.

    Attributes:
        sets: split -> samples, as read.
        learn: the split to learn from.
        network: the training that was asked about.
        facts: of every image file.
        findings: in the order of the kinds, within a kind the heaviest first.
        claims_lost: cells and anchors that a later object took from an earlier one, in all images.
        advice: size and anchors.
    """

    sets: Mapping[str, SampleSet]
    learn: str
    network: PlannedNetwork
    facts: Mapping[Path, ImageFacts]
    findings: tuple[Finding, ...]
    claims_lost: int
    advice: Advice

    def by_kind(self) -> dict[str, list[Finding]]:
        """Kind -> its findings, for the kinds there are."""
        grouped = defaultdict(list)
        for finding in self.findings:
            grouped[finding.kind].append(finding)
        return dict(grouped)

    @property
    def needs_person(self) -> bool:
        """Whether something is beyond a program."""
        return any(KINDS[finding.kind].severity == "person" for finding in self.findings)


def images_of(sets: Mapping[str, SampleSet]) -> list[Path]:
    """Every file to look at: of the samples, and those that the readers could not use."""
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
    """Look at every image and every box.

    Args:
        sets: split -> samples, with what the readers found odd.
        network: the training that is planned.
        done: called after each image; where a model has doubts, again when it has seen the image.
        doubted: what a model doubts about the labels of one image.
    """
    facts = inspect_all(images_of(sets), done)
    learn = split_to_learn_from(sets)
    listed = list_images(sets)
    claims_lost = 0
    findings = [*_of_readers(sets, facts), *_of_files(sets, facts), *class_findings(sets, learn)]
    findings.extend(duplicate_findings(facts, listed))
    for found, sample in _each_once(sets):
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
    findings.sort(key=lambda each: (order[each.kind], -each.weight))  # stable: the file's order otherwise
    advice = advise(sets[learn].samples, network)
    return Diagnosis(sets, learn, network, facts, tuple(findings), claims_lost, advice)


def split_to_learn_from(sets: Mapping[str, SampleSet]) -> str:
    """`train`, else `trainval`, else the first."""
    return next((split for split in ("train", "trainval") if split in sets), next(iter(sets)))


def list_images(sets: Mapping[str, SampleSet]) -> dict[Path, Listed]:
    """Image -> its boxes and the splits that name it; `trainval` is `train` and `val` again."""
    splits: dict[Path, set[str]] = defaultdict(set)
    samples: dict[Path, Sample] = {}
    for split, found in sets.items():
        if split == "trainval" and "train" in sets:
            continue
        for sample in found.samples:
            splits[sample.path].add(split)
            samples.setdefault(sample.path, sample)
    return {path: Listed(sample, frozenset(splits[path])) for path, sample in samples.items()}


def _each_once(sets: Mapping[str, SampleSet]) -> Iterator[tuple[SampleSet, Sample]]:
    seen: set[Path] = set()
    for found in sets.values():
        for sample in found.samples:
            if sample.path not in seen:
                seen.add(sample.path)
                yield found, sample


def _of_readers(sets: Mapping[str, SampleSet], facts: Mapping[Path, ImageFacts]) -> Iterator[Finding]:
    """The problems that reading the annotations brought to light."""
    for problem in dict.fromkeys(problem for found in sets.values() for problem in found.problems):
        kind: str = problem.kind if problem.kind in KINDS else "annotation"
        known = facts.get(problem.image) if problem.image else None
        if kind in SORTED_BY_FACTS and known and known.cut_short:
            kind = "truncated"
        yield Finding(kind, with_line(problem.place), problem.what, problem.image, _box_of(problem))


def _box_of(problem: Problem) -> tuple[Corners, ...]:
    return (problem.box,) if problem.box and problem.kind != "not-numbers" else ()


def _of_files(sets: Mapping[str, SampleSet], facts: Mapping[Path, ImageFacts]) -> Iterator[Finding]:
    """What is odd about the files that the readers could use."""
    usable = {sample.path for found in sets.values() for sample in found.samples}
    yield from image_findings(each for path, each in facts.items() if path in usable)
