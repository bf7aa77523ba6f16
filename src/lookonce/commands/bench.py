"""`lookonce bench`: how fast a model runs on this machine, beside the engines that could run it instead."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lookonce._files import write_text
from lookonce._optional import require
from lookonce.bench.contenders import CONTENDERS, Case
from lookonce.bench.files import Files, prepare
from lookonce.bench.machine import about_machine
from lookonce.bench.measure import Entry, Result, measure
from lookonce.bench.table import as_dict, as_text, plot
from lookonce.commands.opening import input_size
from lookonce.commands.report import say
from lookonce.errors import ConfigError
from lookonce.evaluate.plots import save


def bench(
    model: Path,
    *,
    against: str | None,
    size: str | None,
    batches: str,
    threads: str | None,
    rounds: int,
    out: Path | None,
    as_json: bool,
) -> int:
    """Measure and print.

    Args:
        model: any model file.
        against: contenders with commas between; None for all that are installed and can run the model.
        size: of the input; None: as the model was made.
        batches: images at a time, with commas between.
        threads: of the engines, with commas between; None for one a core.
        rounds: turns of each contender.
        out: folder for `bench.json` and `bench.png`; None for neither.
        as_json: print JSON instead of the tables.

    Returns:
        0 done, 1 if a contender that was asked for could not run.

    Raises:
        ConfigError: an unknown contender, or a number that is none.
        ModelFileError: the model cannot be read.
        MissingExtraError: a plot is wanted and matplotlib is not installed.
    """
    if out is not None:
        require("matplotlib", extra="train")  # before all the measuring, not after it
    with TemporaryDirectory(prefix="lookonce-bench-") as folder:
        files = prepare(model, Path(folder))
        entries = [Entry(name, files, name) for name in _contenders(against, files)]
        cases = _cases(files, size, _numbers("--batch", batches), _thread_counts(threads))
        results = _measured(entries, cases, rounds)
    about = {"model": str(model), **about_machine()}
    numbers = json.dumps({**about, "results": as_dict(results)}, indent=2) + "\n"
    if out is not None:
        write_text(out / "bench.json", numbers)
        save(plot(results, f"{model.name} on {about['processor']}"), out / "bench.png")
    if as_json:
        print(numbers, end="")
    else:
        _say(model, about, results, out)
    return int(against is not None and any(result.error for result in results))


def _measured(entries: Sequence[Entry], cases: Sequence[Case], rounds: int) -> list[Result]:
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    results = []
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=len(cases) * len(entries) * (1 + rounds))
        for case in cases:
            results += measure(
                entries,
                case,
                rounds=rounds,
                advance=lambda label: progress.update(bar, advance=1, description=label),
            )
    return results


def _contenders(against: str | None, files: Files) -> list[str]:
    """Our Detector first: all ratios are to it."""
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


def _cases(files: Files, size: str | None, batches: Sequence[int], threads: Sequence[int]) -> list[Case]:
    from lookonce.runtime.detector import Detector

    with Detector.open(files.graph, size=input_size(size)) as detector:
        height_width = detector.size
    return [Case(height_width, batch, count) for batch in batches for count in threads]


def _thread_counts(threads: str | None) -> list[int]:
    return [os.cpu_count() or 1] if threads is None else _numbers("--threads", threads)


def _numbers(option: str, text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError(f"{option}: expected numbers such as 1,8, found {text!r}")
    return [int(part) for part in parts]


def _say(model: Path, about: dict[str, Any], results: Sequence[Result], out: Path | None) -> None:
    console = Console()
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    say(f"{model}\n{about['date']}  {about['processor']}, {about['cores']} cores", console)
    say(f"Python {about['python']}, {versions}\n", console)
    say(as_text(results), console)
    say(
        "\nlookonce: a 1280x720 image in memory to detections; the others: the network alone, input ready.",
        console,
    )
    if out is not None:
        say(f"{out / 'bench.json'}, {out / 'bench.png'}", console)
