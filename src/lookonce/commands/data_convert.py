"""`lookonce data convert`: write annotations in another format."""

from pathlib import Path
from typing import Annotated

import typer

from lookonce._outputs import Outputs
from lookonce._terminal import say, terminal
from lookonce.annotations import check_target, load_splits, write_samples
from lookonce.annotations.report import say_problems, say_samples
from lookonce.annotations.selection import Selection
from lookonce.annotations.write import WRITERS
from lookonce.commands import options as shared
from lookonce.errors import ConfigError


def data_convert(
    data: shared.DataArgument,
    to: Annotated[
        str, typer.Option(help="Format: coco, voc, yolo, darknet, lines, cvat, labelme or labelstudio.")
    ],
    out: Annotated[Path, typer.Option(help="New or empty folder.")],
    classes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OLD=NEW", help="Class to merge or rename; tree= leaves tree out. May be repeated."
        ),
    ] = None,
    names: shared.NamesOption = None,
    images: shared.ImagesOption = None,
    strict: shared.StrictOption = False,
) -> int:
    """Write annotations in another format, split by split.

    Example: lookonce data convert my-voc/ --to coco --out my-coco
    """
    console = terminal(stderr=True)
    if to not in WRITERS:
        raise ConfigError(f"--to: expected one of {', '.join(WRITERS)}, found {to!r}")
    with Outputs("data convert", folder=out, inputs=[data, names]):
        check_target(to, out)
        sets = load_splits(data, names, strict, images)
        if classes:
            selection = Selection(
                "--classes", {old: new or None for old, new in shared.pairs(classes, empty=True).items()}
            )
            known = next(iter(sets.values())).names
            if unknown := selection.absent_from(known):
                raise ConfigError(f"--classes {unknown[0]}: expected one of {', '.join(known)}"[:500])
            sets = {split: selection.apply(found) for split, found in sets.items()}
        read = say_samples(sets, console)
        written, lost = write_samples(sets, to, out)
    code = say_problems(lost, console)
    say(f"written as {to}: {written} ({', '.join(sets)})", console)
    return max(read, code)
