"""`lookonce demo`: the whole road on images of our own, as the commands that a user would type.

demo/
    images/ annotations/   rendered: train, val, test
    run/                     the training
    model.safetensors        its best model
    report/                  how good that is on the test images: numbers and curves
    unseen/                  images without annotation
    found/                   the same with what was found on them
    explained.html           a test image with its ground truth: every number on its way, and its losses
"""

import json
import shlex
import shutil
import time
from pathlib import Path

from rich.console import Console

from lookonce._optional import require
from lookonce.commands.report import say
from lookonce.errors import ConfigError

COUNTS = {"train": 480, "val": 40, "test": 120}
UNSEEN = 12
# Chosen on the val images. A mirrored letter is another sign, so there is no flip.
TRAINING = {
    "size": 256,
    "batch": 8,
    "epochs": 24,
    "width": 0.5,
    "anchors": "data",
    "augment.flip": 0,
    "evaluate_every": 8,
}
GOAL = 0.80  # AP50 on the test images; below it something is wrong with this installation


def demo(out: Path) -> int:
    """Render, train, evaluate, detect, explain, and say where everything lies.

    Returns:
        0 done, 1 the model is worse than it should be, 130 stopped by Ctrl-C.

    Raises:
        ConfigError: `out` holds something already, other than a demo that was stopped while it trained.
        MissingExtraError: training is not installed.
    """
    for package in ("torch", "faster_coco_eval", "matplotlib"):  # before the first image is drawn
        require(package, extra="train")
    model = out / "model.safetensors"
    resume = (out / "run" / "last.safetensors").exists() and not model.exists()
    if not resume and out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out}: expected a new or empty folder; remove it, or give another --out")
    console, started = Console(), time.perf_counter()
    data = out / "annotations" / "dataset.yaml" if resume else _render(out, console)
    if code := _train(data, out / "run", console, resume=resume):
        say(f"lookonce demo --out {out} goes on with all that follows, too", console)
        return code
    shutil.copy(out / "run" / "best.safetensors", model)
    ap50 = _evaluate(model, data, out / "report", console)
    if code := _detect(model, out, console):
        return code
    _explain(model, data, out, console)
    _say_results(out, ap50, (time.perf_counter() - started) / 60, console)
    return int(ap50 < GOAL)


def _render(out: Path, console: Console) -> Path:
    from lookonce.data.synthetic import render, render_unseen

    say(f"rendering {sum(COUNTS.values())} images of letters and digits", console)
    render_unseen(out / "unseen", UNSEEN)
    return render(out, COUNTS)


def _train(data: Path, out: Path, console: Console, *, resume: bool) -> int:
    from lookonce.commands.train import train

    if resume:
        _say_command(["train", str(data), "--out", str(out), "--resume"], console)
        return train(data, out, resume=True)
    settings = [f"{name}={value}" for name, value in TRAINING.items()]
    options = [word for setting in settings for word in ("--set", setting)]
    _say_command(["train", str(data), "--out", str(out), *options], console)
    return train(data, out, assignments=settings)


def _evaluate(model: Path, data: Path, out: Path, console: Console) -> float:
    """AP50 on the test part."""
    from lookonce.commands.evaluate import evaluate

    _say_command(["evaluate", str(model), str(data), "--split", "test", "--out", str(out)], console)
    evaluate(model, data, out, split="test")
    return float(json.loads((out / "metrics.json").read_text(encoding="utf-8"))["ap50"])


def _detect(model: Path, out: Path, console: Console) -> int:
    from lookonce.commands.detect import detect

    unseen, found = str(out / "unseen"), out / "found"
    _say_command(["detect", str(model), unseen, "--out", str(found)], console)
    return detect(model, [unseen], found, save="images,json")


def _explain(model: Path, data: Path, out: Path, console: Console) -> None:
    from lookonce.commands.explain import explain

    image, page = out / "images" / "test" / "0000.jpg", out / "explained.html"
    _say_command(["explain", str(model), str(image), "--truth", str(data), "--out", str(page)], console)
    explain(model, image, page, truth=data)


def _say_results(out: Path, ap50: float, minutes: float, console: Console) -> None:
    say(
        f"\nAP50 {ap50:.3f} on {COUNTS['test']} images it had never seen, {minutes:.1f} minutes in all",
        console,
    )
    if ap50 < GOAL:
        say(f"expected {GOAL:.2f} or more: something is wrong with this installation", console)
    say(f"annotated images  {out / 'found' / 'annotated'}", console)
    say(f"how it sees         {out / 'explained.html'}", console)
    say(f"curves              {out / 'report' / 'precision_recall.png'}", console)
    say(f"model               {out / 'model.safetensors'}", console)
    say(f"its training        {out / 'run' / 'epochs.csv'}", console)


def _say_command(words: list[str], console: Console) -> None:
    """What a user would type for the step that follows."""
    say(f"\n$ lookonce {shlex.join(words)}", console)
