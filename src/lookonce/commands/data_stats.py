"""`lookonce data stats`: count images, classes and box sizes, with one column per split."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from lookonce._files import write_text
from lookonce._outputs import Outputs
from lookonce._terminal import printable, say, terminal
from lookonce.annotations import load_splits
from lookonce.annotations.report import count_problems, say_samples
from lookonce.commands import options as shared
from lookonce.doctor.advice import advise
from lookonce.doctor.charts import plots
from lookonce.doctor.diagnose import split_to_learn_from
from lookonce.doctor.planned_network import PlannedNetwork
from lookonce.doctor.statistics import Statistics, statistics
from lookonce.pages.render import render

PAGE_NETWORK = ("yolov3-tiny", (416, 416))  # network for the plots; `data check` has options for others


def data_stats(
    data: shared.DataArgument,
    out: Annotated[Path | None, typer.Option(help="Folder for a page with plots: stats.html.")] = None,
    names: shared.NamesOption = None,
    images: shared.ImagesOption = None,
    json_to: shared.JsonOption = None,
    strict: shared.StrictOption = False,
    force: shared.ForceOption = False,
) -> int:
    """Count images, classes and box sizes in every split.

    Example: lookonce data stats my-voc/ --out runs/stats
    """
    console, files = terminal(stderr=True), [shared.json_file(json_to)]
    with Outputs("data stats", folder=out, files=files, inputs=[data, names], force=force):
        sets = load_splits(data, names, strict, images)
        counted = {split: statistics(found) for split, found in sets.items()}
        code = say_samples(sets, console)
        if json_to is not None:
            problems = list(dict.fromkeys(p for found in sets.values() for p in found.problems))
            entries = [
                {"place": p.place, "what": p.what, "outcome": p.outcome, "kind": p.kind} for p in problems
            ]
            numbers = {
                "recognized": {split: found.describe() for split, found in sets.items()},
                "splits": {split: asdict(each) for split, each in counted.items()},
                "problems": count_problems(problems) | {"list": entries},
            }
            shared.write_json(json_to, numbers)
        if json_to != shared.STANDARD_OUTPUT:
            table = Table(box=SIMPLE)
            table.add_column("", no_wrap=True)
            for split in counted:
                table.add_column(split, justify="right", overflow="fold")
            for title, cells in _rows(list(counted.values())):
                if not cells:
                    table.add_section()
                table.add_row(Text(printable(title)), *cells)
            terminal().print(table)
        if out is not None:
            learn, network = split_to_learn_from(sets), PlannedNetwork.published(*PAGE_NETWORK)
            advice = advise(sets[learn].samples, network)
            page = render(
                "stats.html",
                title=str(data),
                described={split: found.describe() for split, found in sets.items()},
                rows=_rows(list(counted.values())),
                advice=advice,
                learn=learn,
                plots=plots(sets[learn], network, advice),
            )
            write_text(out / "stats.html", page)
            say(f"page: {out / 'stats.html'}", console)
    return code


def _rows(each: list[Statistics]) -> list[tuple[str, list[str]]]:
    """Return the title of each row and its cells, one per split; a row without cells is a heading."""
    return [
        ("images", [str(s.images) for s in each]),
        ("  without objects", [str(s.background) for s in each]),
        ("boxes", [str(s.boxes) for s in each]),
        ("  difficult", [str(s.difficult) for s in each]),
        ("  crowd", [str(s.crowd) for s in each]),
        ("of class (in images)", []),
        *(
            (f"  {name}", [f"{s.per_class[name]} ({s.images_per_class[name]})" for s in each])
            for name in each[0].per_class
        ),
        ("box sizes", []),
        ("  below 32x32 pixels", [_share(s.small, s.boxes) for s in each]),
        ("  up to 96x96", [_share(s.medium, s.boxes) for s in each]),
        ("  above", [_share(s.large, s.boxes) for s in each]),
        ("least/median/most", []),
        ("  boxes per image", [str(s.boxes_per_image or "-") for s in each]),
        ("  box width", [str(s.box_width or "-") for s in each]),
        ("  box height", [str(s.box_height or "-") for s in each]),
        ("  image width", [str(s.image_width or "-") for s in each]),
        ("  image height", [str(s.image_height or "-") for s in each]),
    ]


def _share(part: int, whole: int) -> str:
    return f"{part} ({part / whole:.0%})" if whole else "0"
