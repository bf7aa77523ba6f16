"""`lookonce tune`: find the fastest way to run a model on this machine without a loss of accuracy."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from lookonce._outputs import Outputs
from lookonce._terminal import say, terminal
from lookonce.bench.table import aligned
from lookonce.bench.tune import TuneOptions
from lookonce.bench.tune import tune as measure_all
from lookonce.commands import options as shared
from lookonce.networks import model_name
from lookonce.runtime.plans import PLAN, SpeedPlan, Way

MAX_TUNED_DROP = 0.003  # AP


def tune(
    model: shared.ModelArgument,
    data: Annotated[
        Path, typer.Option(metavar="DATA", help="Annotations; train calibrates int8, val measures AP.")
    ],
    max_drop: Annotated[
        float, typer.Option(min=0, max=1, help="Largest accepted drop in AP.")
    ] = MAX_TUNED_DROP,
    names: shared.NamesOption = None,
    weights: shared.WeightsOption = None,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Measurements per candidate.")] = 5,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the plan.", show_default="the cache, where detect looks")
    ] = None,
    json_to: shared.JsonOption = None,
    force: shared.ForceOption = False,
) -> int:
    """Find the fastest way to run a model on this machine: engine, precision, threads.

    Example: lookonce tune runs/mine/best.safetensors --data my-images/
    """
    options = TuneOptions(data, max_drop, names, weights, rounds, out)
    inputs = [model, data, names, weights]
    with Outputs("tune", folder=out, files=[shared.json_file(json_to)], inputs=inputs, force=force):
        with shared.options_named():
            made = measure_all(model, options, terminal(stderr=json_to == shared.STANDARD_OUTPUT))
        if json_to is not None:
            shared.write_json(json_to, json.loads((made.folder / PLAN).read_text(encoding="utf-8")))
    if json_to == shared.STANDARD_OUTPUT:
        return 0
    console = terminal()
    say(
        "AP on the data; detections alike with float32; ms per image, for images at a time x threads", console
    )
    for line in _table(made):
        say(line, console)
    for use, threads in (("one image at a time", None), ("many images", 1)):
        way = made.best(threads)
        assert way is not None, "a plan has at least one way"
        usual = next(each for each in made.timed if each.calls == way.calls)  # the default engine, all cores
        gain = made.milliseconds(usual) / made.milliseconds(way)
        say(
            f"{use}: {way}: {made.milliseconds(way):.1f} ms per image, {gain:.2f} times as fast as {usual}",
            console,
        )
    say(
        f"{made.folder / PLAN}: {model_name(model)} runs this way on this kind of machine from now on",
        console,
    )
    return 0


def _table(plan: SpeedPlan) -> list[str]:
    """Return a row per engine and precision, with ms per image for each number of images x threads."""
    uses = list(dict.fromkeys((way.threads, way.calls) for way in plan.timed))
    times = [f"{calls} x {threads}" for threads, calls in uses]
    rows = [["engine", "precision", "AP", "alike", *times, ""]]
    for recipe in dict.fromkeys(way.recipe for way in plan.ways):
        backend, precision, file = recipe
        ways = [way for way in plan.ways if way.recipe == recipe]
        milliseconds = {(way.threads, way.calls): way.milliseconds for way in ways}
        numbers = [
            "" if number is None else f"{number:{form}}"
            for number, form in (
                (ways[0].ap, ".4f"),
                (ways[0].agreement, ".1%"),
                *((milliseconds.get(use), ".1f") for use in uses),
            )
        ]
        name = precision.replace("int8", "int8 symmetric") if "symmetric" in file else precision
        rows.append([backend, name, *numbers, _verdict(plan, ways)])
    return aligned(rows, left=(0, 1, len(rows[0]) - 1))


def _verdict(plan: SpeedPlan, rows: Sequence[Way]) -> str:
    """Describe a row: what it is the fastest for, why it was rejected, or that it is slower than float32."""
    if rejected := next((way.rejected for way in rows if way.rejected), ""):
        return f"rejected: {rejected}"
    if chosen := [
        use for use, way in (("latency", plan.best()), ("throughput", plan.best(1))) if way in rows
    ]:
        return f"fastest: {' and '.join(chosen)}"
    fastest = min(map(plan.milliseconds, rows))
    exact = [
        plan.milliseconds(way)
        for way in plan.timed
        if (way.backend, way.precision) == (rows[0].backend, "float32")
    ]
    return "not on this machine" if exact and min(exact) < fastest else ""
