"""`lookonce compare`: find out which of two models is better on annotated images."""

from pathlib import Path
from typing import Annotated

import typer

from lookonce._counted import counted
from lookonce._outputs import Outputs
from lookonce._terminal import progress_bar, say, terminal
from lookonce.annotations import GivenData
from lookonce.annotations.report import say_problems
from lookonce.commands import options as shared
from lookonce.errors import ConfigError, ImageError
from lookonce.evaluate.classes import SharedClasses, listed
from lookonce.evaluate.paired import compare_pair
from lookonce.evaluate.part import choose_part, learned_from
from lookonce.gate import detect_both
from lookonce.networks import model_name, model_path
from lookonce.runtime.cpu import usable_cores
from lookonce.runtime.options import EVALUATION_CONF
from lookonce.runtime.pipeline import Parallel
from lookonce.samples import group_numbers
from lookonce.seen import Seen


def compare(
    a: Annotated[
        Path, typer.Argument(metavar="A", parser=model_path, help="coco, a model file or a run folder.")
    ],
    b: Annotated[Path, typer.Argument(metavar="B", parser=model_path, help="Model to compare with A.")],
    data: shared.DataArgument,
    split: shared.SplitOption = None,
    names: shared.NamesOption = None,
    images: shared.ImagesOption = None,
    json_to: shared.JsonOption = None,
    size: shared.SizeOption = None,
    group: shared.GroupOption = "",
    strict: shared.StrictOption = False,
    force: shared.ForceOption = False,
) -> int:
    """Find out which of two models is better on the same images, and how certain that is.

    Example: lookonce compare runs/old runs/new my-images/ --split test
    """
    options = shared.read_options(size=size, conf=EVALUATION_CONF)
    console = terminal(stderr=json_to == shared.STANDARD_OUTPUT)
    files = [shared.json_file(json_to)]
    with Outputs("compare", files=files, inputs=[a, b, data, names], force=force):
        given = GivenData(data, names, images, strict)
        annotations, class_names = given.open(), given.class_names()
        parallel = Parallel.of(usable_cores())
        with (
            shared.open_detector(a, options, parallel.threads) as first,
            shared.open_detector(b, options, parallel.threads) as second,
        ):
            seen = Seen.of(first.info.training), Seen.of(second.info.training)
            learned = seen[0].learned | seen[1].learned
            either = Seen(learned, (seen[0].held_out | seen[1].held_out) - learned)
            part = choose_part(annotations, split, either, class_names, strict)
            say(f"{part.name}: {part.found.describe()}", console)
            for name, own in zip("AB", seen, strict=True):
                if count := learned_from(own, part.found):
                    total = counted(len(part.found.samples), "image")
                    say(
                        f"warning: {name} has learned from {count} of the {total}, so its AP is optimistic",
                        console,
                    )
            classes = [SharedClasses.match(each.names, part.found.names, data) for each in (first, second)]
            common = tuple(name for name in classes[0].names if name in classes[1].names)
            if not common:
                raise ConfigError(f"{data}: expected a class that both models know, found none")
            if left_out := [name for name in part.found.names if name not in common]:
                say(f"skipped: not in both models: {listed(left_out)}", console)
            with progress_bar(console) as progress:
                bar = progress.add_task("detecting", total=len(part.found.samples))
                both = detect_both(
                    first,
                    second,
                    part.found.samples,
                    parallel,
                    lambda: progress.advance(bar),
                    strict=strict,
                )
        exit_code = say_problems([*part.found.problems, *both.unreadable], console)
        if not both.samples:
            raise ImageError(f"{data}: expected images to measure on, found none that can be read")
        truth = [classes[0].sample(sample, common) for sample in both.samples]
        found = [
            [known.detections(pair[i], common) for pair in both.found] for i, known in enumerate(classes)
        ]
        groups = group_numbers([sample.path for sample in truth], group) if group else None
        ap, ap50 = compare_pair(truth, found[0], found[1], common, groups)
        unit = "group" if group else "image"
        if json_to is not None:
            about = {"a": str(a), "b": str(b), "data": str(data), "split": part.name, "classes": common}
            measures = {"over": f"{unit}s", "number": ap.units, "ap": ap.to_dict(), "ap50": ap50.to_dict()}
            shared.write_json(json_to, {**about, **measures})
        of_a = f"AP {ap.a_interval.around(ap.a)}, AP50 {ap50.a_interval.around(ap50.a)}"
        of_b = f"AP {ap.b_interval.around(ap.b)}, AP50 {ap50.b_interval.around(ap50.b)}"
        say(f"A {model_name(a)}: {of_a}", console)
        say(f"B {model_name(b)}: {of_b}", console)
        say(f"AP: {ap.sentence(unit)}", console)
        say(f"AP50: {ap50.sentence(unit)}", console)
    return exit_code
