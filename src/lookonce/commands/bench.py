"""`lookonce bench`: measure the speed of a model on this machine, compared with other engines."""

import os
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from lookonce._files import write_json_file
from lookonce._optional import require
from lookonce._outputs import Outputs
from lookonce._terminal import progress_bar, say, terminal
from lookonce.bench.contenders import CONTENDERS, BenchCase
from lookonce.bench.files import Files, prepare
from lookonce.bench.machine import about_machine
from lookonce.bench.measure import BenchEntry, Result, measure
from lookonce.bench.table import as_dict, as_text, plot
from lookonce.commands import options as shared
from lookonce.errors import ConfigError
from lookonce.evaluate.plots import save

MOST = 1024  # largest batch, and largest number of threads


def bench(
    model: shared.ModelArgument,
    against: Annotated[
        str | None,
        typer.Option(
            help="Engines to compare, comma-separated: onnxruntime, openvino, ncnn, torch, opencv, "
            "lookonce-openvino, lookonce-ncnn.",
            show_default="all that can run it",
        ),
    ] = None,
    size: shared.SizeOption = None,
    weights: shared.WeightsOption = None,
    batch: Annotated[str, typer.Option(help="Batch sizes, such as 1 or 1,8.")] = "1",
    threads: Annotated[
        str | None, typer.Option(help="Threads per engine, such as 2 or 1,2.", show_default="one per core")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Measurements per engine.")] = 10,
    out: Annotated[Path | None, typer.Option(help="Folder for bench.json and a plot.")] = None,
    json_to: shared.JsonOption = None,
    force: shared.ForceOption = False,
) -> int:
    """Measure how fast a model runs on this machine, compared with other engines.

    Example: lookonce bench model.onnx --against onnxruntime,opencv --threads 1,2 --out runs/bench
    """
    batches = _numbers("--batch", batch)
    counts = [os.cpu_count() or 1] if threads is None else _numbers("--threads", threads)
    if out is not None:
        require("matplotlib", extra="evaluate")  # fail before measuring
    inputs = [model, *([weights] if weights else [])]
    with Outputs("bench", folder=out, files=[shared.json_file(json_to)], inputs=inputs, force=force):
        with TemporaryDirectory(prefix="lookonce-bench-") as folder:
            with shared.options_named():
                files = prepare(model, Path(folder), weights)
            wanted = _contenders(against, files)
            entries = [BenchEntry.of(CONTENDERS[name], files) for name in wanted]
            with shared.open_detector(files.graph, shared.read_options(size=size), None) as detector:
                sides = detector.size
            cases = [BenchCase(sides, images, count) for images in batches for count in counts]
            results: list[Result] = []
            with progress_bar(terminal(stderr=True)) as progress:
                bar = progress.add_task("", total=len(cases) * len(entries) * (1 + rounds))
                advance = partial(progress.update, bar, advance=1)
                for case in cases:
                    results += measure(
                        entries, case, rounds=rounds, advance=lambda label: advance(description=label)
                    )
        about = {"model": str(model), **about_machine()}
        numbers = {**about, "results": as_dict(results)}
        if out is not None:
            write_json_file(out / "bench.json", numbers)
            save(plot(results, f"{model.name} on {about['cpu']}"), out / "bench.png")
        if json_to is not None:
            shared.write_json(json_to, numbers)
    if json_to != shared.STANDARD_OUTPUT:
        versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
        for line in (
            str(model),
            f"{about['date']}  {about['cpu']}, {about['cores']} cores",
            f"Python {about['python']}, {versions}",
            "",
            *as_text(results).split("\n"),
            "",
            "lookonce: a 1280x720 image in memory to detections; the others: the network alone.",
            *([] if out is None else [f"{out / 'bench.json'}, {out / 'bench.png'}"]),
        ):
            say(line, terminal())
    return int(against is not None and any(result.error for result in results))


def _contenders(against: str | None, files: Files) -> list[str]:
    """Return the contenders to measure, the Detector first, because all ratios are relative to it.

    Raises:
        ConfigError: there is no such contender, it is not installed, or it cannot run the files.
    """
    if against is None:
        return [name for name, each in CONTENDERS.items() if each.installed and each.fits(files)]
    wanted = [name.strip() for name in against.split(",")]
    for name in wanted:
        if name not in CONTENDERS:
            raise ConfigError(f"--against: expected some of {', '.join(CONTENDERS)}, found {name!r}")
        if not CONTENDERS[name].fits(files):
            raise ConfigError(f"--against: {name} cannot run {files.model}")
        if not CONTENDERS[name].installed:
            raise ConfigError(f"--against: {name} is not installed: pip install {CONTENDERS[name].package}")
    return list(dict.fromkeys(["lookonce", *wanted]))


def _numbers(option: str, text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) < 10 and 0 < int(part) <= MOST for part in parts):
        raise ConfigError(f"{option}: expected numbers from 1 to {MOST:,}, such as 1,8, found {text!r}")
    return [int(part) for part in parts]
