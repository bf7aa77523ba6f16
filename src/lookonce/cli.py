"""The command line: parses, then imports the one command it runs.

Exit codes: 0 done, 1 ran but found problems, 2 wrong input.
"""

import sys
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer

from lookonce.errors import ConfigError, LookonceError

app = typer.Typer(
    help="YOLOv3: train on your own images, detect on an ordinary CPU, read and write Darknet models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and leave.")) -> None:
    if version:
        from importlib.metadata import version as installed_version

        typer.echo(f"lookonce {installed_version('lookonce')}")
        raise typer.Exit


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="A new or empty folder.")] = Path("demo"),
) -> None:
    """Render images, train on them, evaluate, detect and explain: minutes on two cores.

    Example: lookonce demo --out demo
    """
    from lookonce.commands.demo import demo as command

    raise typer.Exit(command(out))


@app.command()
def train(
    data: Annotated[Path, typer.Argument(help="Annotations: a dataset YAML, folder, .json or .txt.")],
    out: Annotated[Path, typer.Option(help="Run folder.")] = Path("runs/train"),
    model: Annotated[str | None, typer.Option(help="yolov3, yolov3-spp or yolov3-tiny (default).")] = None,
    size: Annotated[str | None, typer.Option(help="416, or 320x416 (height x width).")] = None,
    epochs: Annotated[int | None, typer.Option(help="Times every image is learnt from; 30.")] = None,
    batch: Annotated[
        str | None, typer.Option(help="Images a step; 4. auto: as many as fit into memory.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Start from: .safetensors, .cfg beside .weights, darknet53.conv.74.")
    ] = None,
    names: Annotated[Path | None, typer.Option(help="Class names, where the annotations have none.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="A YAML file of settings.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any setting, such as optimizer.rate=0.0005; docs/train.md lists them."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    extend: Annotated[
        int | None, typer.Option(min=1, help="Give the finished run in --out so many epochs more.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad row or image.")] = False,
    self_test: Annotated[
        bool, typer.Option("--self-test", help="Only memorise 8 images: are data and settings sound?")
    ] = False,
) -> None:
    """Train a detector on annotated images.

    Example: lookonce train my-images/ --size 320 --epochs 60 --out runs/mine
    """
    from lookonce.commands import train as command

    shared: dict[str, Any] = {
        "names": names,
        "recipe": recipe,
        "assignments": assignments or (),
        "strict": strict,
        "model": model,
        "size": size,
        "epochs": epochs,
        "batch": batch,
    }
    if self_test:
        if weights or resume or extend:
            raise ConfigError(
                "--self-test: starts from random weights and writes nothing; expected none of "
                "--weights, --resume and --extend beside it"
            )
        raise typer.Exit(command.self_test(data, **shared))
    raise typer.Exit(command.train(data, out, weights=weights, resume=resume, extend=extend, **shared))


RectOption = Annotated[
    bool,
    typer.Option("--rect", help="Leave out the letterbox's padding: less work on wide or high images."),
]
TilesOption = Annotated[
    str | None,
    typer.Option(
        help="Look at parts too, for small objects: 2x3 (rows x columns), or a side in pixels, 640."
    ),
]
OverlapOption = Annotated[float, typer.Option(help="Share of a tile's side that the next tile has too.")]
SoftNmsOption = Annotated[
    bool, typer.Option("--soft-nms", help="Overlapping boxes lose score; in place of --iou.")
]


@app.command()
def evaluate(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help=".safetensors, .onnx, or .cfg beside .weights.")
    ],
    data: Annotated[Path, typer.Argument(help="Annotations: a dataset YAML, folder, .json or .txt.")],
    split: Annotated[str, typer.Option(help="The part of the data to measure on.")] = "val",
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("runs/evaluate"),
    names: Annotated[Path | None, typer.Option(help="Class names, where the annotations have none.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="The numbers, also here.")] = None,
    size: Annotated[str | None, typer.Option(help="416, or 320x416; as the model was made.")] = None,
    conf: Annotated[float, typer.Option(help="Detections above it count. AP wants it low.")] = 0.001,
    iou: Annotated[float, typer.Option(help="Of two boxes overlapping more, the better stays.")] = 0.45,
    rect: RectOption = False,
    tiles: TilesOption = None,
    overlap: OverlapOption = 0.2,
    soft_nms: SoftNmsOption = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad row or image.")] = False,
    explain: Annotated[int, typer.Option(min=0, help="Explain so many of the worst images.")] = 6,
) -> None:
    """Measure how good a model is and what goes wrong: COCO's numbers, curves, types of error.

    Example: lookonce evaluate runs/mine/best.safetensors my-images/ --split test --out runs/test
    """
    from lookonce.commands.evaluate import evaluate as command

    code = command(
        model,
        data,
        out,
        split=split,
        names=names,
        json_file=json_file,
        size=size,
        conf=conf,
        iou=iou,
        rect=rect,
        tiles=tiles,
        overlap=overlap,
        soft_nms=soft_nms,
        strict=strict,
        explain=explain,
    )
    raise typer.Exit(code)


data_app = typer.Typer(no_args_is_help=True, help="Look at annotations, and change their form.")
app.add_typer(data_app, name="data")

DataArgument = Annotated[
    Path, typer.Argument(metavar="DATA", help="Annotations: a dataset YAML, folder, .json, .txt or .data.")
]
NamesOption = Annotated[Path | None, typer.Option(help="Class names, where the annotations have none.")]
StrictOption = Annotated[bool, typer.Option("--strict", help="Stop at the first bad row or image.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@app.command()
def recipes(as_json: JsonOption = False) -> None:
    """List the recipes that come with the package, and how each differs from the default.

    Example: lookonce recipes
    """
    from lookonce.commands.recipes import recipes as command

    raise typer.Exit(command(as_json))


@data_app.command("convert")
def data_convert(
    data: DataArgument,
    to: Annotated[str, typer.Option(help="coco, voc, yolo or lines.")],
    out: Annotated[Path, typer.Option(help="A new or empty folder.")],
    names: NamesOption = None,
    strict: StrictOption = False,
) -> None:
    """Write annotations in another format, split by split.

    Example: lookonce data convert my-voc/ --to coco --out my-coco
    """
    from lookonce.commands.data_convert import convert

    raise typer.Exit(convert(data, to, out, names, strict=strict))


@data_app.command("check")
def data_check(
    data: DataArgument,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("runs/check"),
    model: Annotated[
        str | None, typer.Option(help="What is to be trained: yolov3, yolov3-spp or yolov3-tiny (default).")
    ] = None,
    size: Annotated[str | None, typer.Option(help="416, or 320x416 (height x width), of the input.")] = None,
    detector: Annotated[
        Path | None, typer.Option(help="A trained model: list the labels that it doubts as well.")
    ] = None,
    fix: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Write a corrected copy into this new or empty folder.")
    ] = None,
    names: NamesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find what is wrong with images and boxes, and show it on a page. Exit code 1: a person is needed.

    Example: lookonce data check my-voc/ --size 416 --out runs/check --fix my-voc-fixed
    """
    from lookonce.commands.data_check import check

    code = check(data, out, names=names, model=model, size=size, detector=detector, fix=fix, as_json=as_json)
    raise typer.Exit(code)


@data_app.command("stats")
def data_stats(
    data: DataArgument,
    out: Annotated[Path | None, typer.Option(help="Folder for a page with plots: stats.html.")] = None,
    names: NamesOption = None,
    as_json: JsonOption = False,
    strict: StrictOption = False,
) -> None:
    """Count images, classes and box sizes in every split.

    Example: lookonce data stats my-voc/ --out runs/stats
    """
    from lookonce.commands.data_stats import stats

    raise typer.Exit(stats(data, names, out=out, as_json=as_json, strict=strict))


@data_app.command("anchors")
def data_anchors(
    data: DataArgument,
    model: Annotated[str, typer.Option(help="yolov3, yolov3-spp or yolov3-tiny.")] = "yolov3-tiny",
    size: Annotated[str, typer.Option(help="416, or 320x416 (height x width).")] = "416",
    names: NamesOption = None,
    as_json: JsonOption = False,
    strict: StrictOption = False,
) -> None:
    """Find the anchors that suit the boxes, and say how much better they are than the published ones.

    Example: lookonce data anchors my-voc/ --model yolov3-tiny --size 320x416
    """
    from lookonce.commands.data_anchors import anchors

    raise typer.Exit(anchors(data, model, size, names, as_json=as_json, strict=strict))


@app.command()
def detect(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A model file: .safetensors, .onnx or .cfg.")
    ],
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Files, folders, globs, videos, camera numbers, stream URLs; - (standard input), @list.txt.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("detections"),
    save: Annotated[
        str, typer.Option(help="Some of images,json,csv,coco; images means annotated images and videos.")
    ] = "images,json",
    conf: Annotated[float, typer.Option(help="Keep detections whose score lies above.")] = 0.25,
    iou: Annotated[float, typer.Option(help="Of two boxes that overlap by more, keep the better.")] = 0.45,
    classes: Annotated[
        str | None, typer.Option(help="Keep these classes alone: names or numbers, a,b.")
    ] = None,
    agnostic: Annotated[
        bool, typer.Option("--agnostic", help="Of overlapping boxes keep one, whatever their classes.")
    ] = False,
    size: Annotated[
        str | None, typer.Option(help="416, or 320x416 (height x width); as the model was made.")
    ] = None,
    fit: Annotated[str | None, typer.Option(help="letterbox or stretch; as the model was made.")] = None,
    rect: RectOption = False,
    tiles: TilesOption = None,
    overlap: OverlapOption = 0.2,
    soft_nms: SoftNmsOption = False,
    backend: Annotated[
        str | None, typer.Option(help="onnxruntime, openvino or torch; what suits the file.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the engine for one image; chosen by the sources.")
    ] = None,
    coco_ids: Annotated[
        Path | None, typer.Option(help="COCO annotations whose image and class ids coco results take over.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first file that cannot be read.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an unfinished run into the same --out.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Find objects in images and videos.

    Example: lookonce detect model.onnx photos/ clip.mp4 --save images,csv --classes dog,cat
    """
    from lookonce.commands import detect as command

    code = command.detect(
        model,
        sources,
        out,
        save=save,
        coco_ids=coco_ids,
        strict=strict,
        as_json=as_json,
        resume=resume,
        conf=conf,
        iou=iou,
        classes=classes,
        agnostic=agnostic,
        size=size,
        fit=fit,
        rect=rect,
        tiles=tiles,
        overlap=overlap,
        soft_nms=soft_nms,
        backend=backend,
        threads=threads,
    )
    raise typer.Exit(code)


@app.command()
def explain(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A float model: .safetensors, .onnx, or .cfg by .weights.")
    ],
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="One image.")],
    truth: Annotated[
        Path | None, typer.Option(metavar="DATA", help="Annotations that hold the image, in any form.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    names: Annotated[Path | None, typer.Option(help="Class names, where the annotations have none.")] = None,
    conf: Annotated[float, typer.Option(help="A detection's score lies above it.")] = 0.25,
    iou: Annotated[float, typer.Option(help="Of two boxes that overlap by more, keep the better.")] = 0.45,
    size: Annotated[str | None, typer.Option(help="416, or 320x416; as the model was made.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="The records, also here.")] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the explanation instead of writing the page.")
    ] = False,
) -> None:
    """Show every step of an image's way through a model on a page: shapes, formulas, numbers, losses.

    Example: lookonce explain model.safetensors photos/dog.jpg --out dog.html
    """
    from lookonce.commands.explain import explain as command

    code = command(
        model,
        image,
        out,
        truth=truth,
        names=names,
        confidence=conf,
        iou=iou,
        size=size,
        json_file=json_file,
        markdown=markdown,
    )
    raise typer.Exit(code)


class ExportTarget(StrEnum):
    """What `lookonce export` can write."""

    ONNX = "onnx"
    OPENVINO = "openvino"
    DARKNET = "darknet"


@app.command()
def export(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help=".safetensors, .cfg beside .weights, or .onnx.")
    ],
    to: Annotated[ExportTarget, typer.Option(help="The form to write.")],
    out: Annotated[Path, typer.Option(help="A folder, or the file's name.")] = Path("exported"),
    size: Annotated[
        str | None, typer.Option(help="416, or 320x416 (height x width); as the model was made.")
    ] = None,
    static: Annotated[
        bool, typer.Option("--static", help="Fix batch 1 and the size; else both are open.")
    ] = False,
    nms: Annotated[bool, typer.Option("--nms", help="Suppress duplicates within the graph.")] = False,
    conf: Annotated[float | None, typer.Option(help="With --nms: scores lie above it; 0.25.")] = None,
    iou: Annotated[
        float | None, typer.Option(help="With --nms: of two boxes that overlap by more, the better; 0.45.")
    ] = None,
    verify_on: Annotated[
        Path | None, typer.Option(help="Images for the comparison; a few rendered ones and noise.")
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="A quarter of the size, faster; kept if its AP is.")
    ] = False,
    calibrate: Annotated[
        Path | None, typer.Option(help="With --int8: DATA or DATA/split, or a folder of images.")
    ] = None,
    gate_on: Annotated[
        Path | None,
        typer.Option(help="With --int8: DATA or DATA/split to compare AP on; val of --calibrate."),
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(min=0, max=1, help="With --int8: the AP that may be lost; 0.005.")
    ] = None,
    no_gate: Annotated[
        bool, typer.Option("--no-gate", help="With --int8: do not compare, whatever is lost.")
    ] = False,
    names: NamesOption = None,
) -> None:
    """Write a model in the form that another program reads; fails unless both compute the same.

    Example: lookonce export runs/mine/best.safetensors --to onnx --out mine.onnx
    """
    from lookonce.commands.export import export as command
    from lookonce.commands.export_int8 import checked_options

    code = command(
        model,
        to.value,
        out,
        size=size,
        static=static,
        nms=nms,
        confidence=conf,
        iou=iou,
        verify_on=verify_on,
        int8=checked_options(int8, calibrate, gate_on, max_drop, names, no_gate=no_gate),
    )
    raise typer.Exit(code)


@app.command()
def bench(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Any model file.")],
    against: Annotated[
        str | None,
        typer.Option(
            help="Some of onnxruntime,openvino,torch,opencv,lookonce-openvino; all that can run it."
        ),
    ] = None,
    size: Annotated[str | None, typer.Option(help="416, or 320x416; as the model was made.")] = None,
    batch: Annotated[str, typer.Option(help="Images at a time: 1, or 1,8.")] = "1",
    threads: Annotated[str | None, typer.Option(help="Of the engines: 2, or 1,2; one a core.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each contender.")] = 10,
    out: Annotated[Path | None, typer.Option(help="Folder for bench.json and a plot.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how fast a model runs here, beside the engines that could run it instead.

    Example: lookonce bench model.onnx --against onnxruntime,opencv --threads 1,2 --out runs/bench
    """
    from lookonce.commands.bench import bench as command

    code = command(
        model,
        against=against,
        size=size,
        batches=batch,
        threads=threads,
        rounds=rounds,
        out=out,
        as_json=as_json,
    )
    raise typer.Exit(code)


@app.command()
def fetch(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="yolov3, yolov3-spp, yolov3-tiny or darknet53.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Fetch official weights into the cache: checked, resumed if cut off, with .cfg and class names.

    Example: lookonce fetch yolov3-tiny
    """
    from lookonce.commands import fetch as command

    raise typer.Exit(command.fetch(name, as_json=as_json))


def main() -> None:
    """Run the command line; an error of the input, or of the disk, becomes one line and exit code 2."""
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be Unicode; stderr does so
    try:
        app()
    except (LookonceError, OSError) as error:
        typer.echo(f"lookonce: {error}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("lookonce: stopped", err=True)
        sys.exit(130)
