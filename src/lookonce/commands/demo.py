"""`lookonce demo`: run all steps on rendered images, and print the command for each of them.

demo/
    images/ annotations/   rendered images, with train, val and test splits
    run/                   run folder of the training
    model.safetensors      best model of the run
    report/                accuracy on the test images: report.html and its numbers
    unseen/                images without annotations
    found/                 detections on the unseen images, also drawn on them
    explained.html         explanation of a test image with its ground truth
"""

import shlex
import shutil
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lookonce._files import replacing
from lookonce._optional import require
from lookonce._outputs import Outputs, is_vacant
from lookonce._terminal import say, terminal
from lookonce.errors import ConfigError

COUNTS = {"train": 480, "val": 40, "test": 120}
UNSEEN = 12
# Settings chosen on the val images. There is no flip, because mirrored letters are different characters.
TRAINING = {
    "size": 256,
    "batch": 8,
    "epochs": 24,
    "width": 0.5,
    "anchors": "data",
    "augment.flip": 0,
    "evaluate_every": 8,
}
GOAL = 0.80  # AP50 on the test images; a lower value means that the installation is broken


def demo(out: Annotated[Path, typer.Option(help="New or empty folder.")] = Path("demo")) -> int:
    """Render images, train, evaluate, detect and explain, in a few minutes on two cores.

    Example: lookonce demo --out demo
    """
    for package in ("torch", "faster_coco_eval", "matplotlib"):  # fail before any image is rendered
        require(package, extra="train")
    model = out / "model.safetensors"
    with Outputs("demo", folder=out):
        resume = (out / "run" / "last.safetensors").exists() and not model.exists()
        if not resume and not is_vacant(out):
            raise ConfigError(f"{out}: expected a new or empty folder; remove it, or give another --out")
        console, started = terminal(), time.perf_counter()
        data = out / "annotations" / "dataset.yaml"
        if not resume:
            from lookonce.data.synthetic import render, render_unseen

            say(f"rendering {sum(COUNTS.values())} images of letters and digits", console)
            render_unseen(out / "unseen", UNSEEN)
            data = render(out, COUNTS)
        from lookonce.commands.train import train

        settings = [] if resume else [f"{name}={value}" for name, value in TRAINING.items()]
        options = ["--resume"] if resume else [word for each in settings for word in ("--set", each)]
        _say_command(["train", str(data), "--out", str(out / "run"), *options], console)
        if code := train(data, out / "run", assignments=settings, resume=resume).exit_code:
            say(f"to resume the demo: lookonce demo --out {out}", console)
            return code
        with replacing(model) as temporary:
            shutil.copyfile(out / "run" / "best.safetensors", temporary)
        return _show(model, data, out, started, console)


def _show(model: Path, data: Path, out: Path, started: float, console: Console) -> int:
    """Evaluate, detect and explain with the trained model.

    Returns:
        Exit code: 0 on success, 1 if the model is worse than expected, 130 after Ctrl-C.
    """
    from lookonce.commands.detect import detect
    from lookonce.commands.evaluate import evaluate
    from lookonce.commands.explain import explain

    report = out / "report"
    _say_command(["evaluate", str(model), str(data), "--split", "test", "--out", str(report)], console)
    ap50 = evaluate(model, data, split="test", out=report).metrics.ap50
    unseen, found = str(out / "unseen"), out / "found"
    _say_command(["detect", str(model), unseen, "--out", str(found)], console)
    if code := detect(model, [unseen], found):
        return code
    image, page = out / "images" / "test" / "0000.jpg", out / "explained.html"
    _say_command(["explain", str(model), str(image), "--truth", str(data), "--out", str(page)], console)
    explain(model, image, truth=data, out=page)
    say("", console)
    minutes = (time.perf_counter() - started) / 60
    say(
        f"AP50 {ap50:.3f} on {COUNTS['test']} images never seen before, {minutes:.1f} minutes in all", console
    )
    if ap50 < GOAL:
        say(f"expected {GOAL:.2f} or more: something is wrong with this installation", console)
    say(f"annotated images  {found / 'annotated'}", console)
    say(f"explanation       {page}", console)
    say(f"report            {report / 'report.html'}", console)
    say(f"model             {model}", console)
    say(f"its training      {out / 'run' / 'epochs.csv'}", console)
    return int(ap50 < GOAL)


def _say_command(words: list[str], console: Console) -> None:
    """Print the command for the next step."""
    say("", console)
    say(f"$ lookonce {shlex.join(words)}", console)
