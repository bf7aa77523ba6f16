"""Wrong, absurd and contradictory values for every option of every command.

The values follow from the kind of an option, as shown in its help, so new options are covered too.
`CONTRADICTIONS` has options that exclude each other, and values that only one option accepts.
"""

import shutil
from collections.abc import Iterator
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any, get_args

from lookonce.cli import DATA_VERBS, VERBS, load
from lookonce.export.files import write_onnx
from lookonce.export.graph import export_graph
from lookonce.export.source import read_source
from lookonce.images import write_image
from tests.export.models import INFO, write_model
from tests.hostile.limits import Case
from tests.tiny_onnx import YELLOW, image, write_tiny_model

LONG = "n" * 5000
ODD_TEXT = ("", "\x1b[2Jx\n", LONG, "\udcff")
WRONG = {
    int: ("", "x", "1.5", "-1", "9" * 5000),
    float: ("x", "nan", "inf", "-1", "1e400"),
}
EDGES = {int: ("0", "9" * 30), float: ("0", "1", "1e-320", "1.0000001")}
SIZES = ("0", "-32", "33", "416x", "x416", "32x32x32", "9" * 19, "416.5", "nan", "1e9", "0x0", "32x-32")
EDGE_SIZES = ("32", "32X32", "65536", "1000000x32")
BY_OPTION: dict[str, tuple[str, ...]] = {
    "--size": SIZES,
    "--conf": ("nan", "-1", "2", "x", "cat=", "=0.5", "cat=x", "cat=nan", "cat=2", "zebra=0.5",
               "cat=0.1,cat=0.2"),
    "--tiles": ("0x0", "-1x2", "2x", "0", "33", "nan", "9" * 20, "1000000x1000000"),
    "--classes": ("zebra", "99", "-1", "nan", ",", "cat,", "cat,zebra"),
    "--save": ("nothing", ",", "json,", "json,json,x", "JSON"),
    "--device": ("", "tpu", "cuda:99", "cuda:-1", "cuda:x", "cpu:3"),
    "--precision": ("", "int4", "float64"),
    "--backend": ("", "x", "tflite"),
    "--fit": ("", "crop"),
    "--to": ("", "x", "tflite"),
    "--model": ("", "yolov9", "missing.cfg"),
    "--group": ("(", "(a+)+$", "*", "[", "(?P<x"),
    "--split": ("", "x", "../val"),
    "--batch": ("0", "-1", "x", "1.5", "nan", "9" * 20, "1,", "1,x", ""),
    "--threads": ("0", "-1", "x", "1.5", "9" * 20, "1,", ""),
    "--for": ("0", "-5ms", "x", "5", "nanms", "infms", "5 hours", "1e400ms", ""),
    "--set": ("", "x", "=1", "x=1", "width=", "width=nan", "width=-1", "width=1e9", "width=0", "optimizer=1",
              "optimizer.rate=nan", "optimizer.rate=-1", "optimizer.rate.x=1", "__class__=1",
              "anchors=[[[1]]]", "workers=-1", "workers=9999999999", "epochs=[", "seed=9" + "9" * 400,
              "width: 1", "size=!!python/object:x", "checkpoint_minutes=x",
              "seed=2022-99-99", "freeze=99999", "augment=" + "[" * 2000),
    "--against": ("", "x", "onnxruntime,x"),
    "--empty": ("", "missing.txt"),
    "--minutes": ("0", "nan", "inf", "-1", "1e400"),
    "--faster": ("0", "1", "0.5", "nan", "inf", "1e9"),
}  # fmt: skip
CONTRADICTIONS = (
    "train|--epochs=1|--minutes=1",
    "train|--extend=1|--epochs=2",
    "train|--extend=1",
    "train|--folds=2|--resume",
    "train|--folds=99",
    "train|--resume|--keep-classes",
    "train|--keep-classes",
    "train|--keep-classes|--weights=model.onnx",
    "train|--weights=photo.png",
    "train|--weights=small.cfg|--model=yolov3",
    "train|--for=5ms|--model=yolov3",
    "train|--for=5ms|--size=320",
    "train|--self-test|--folds=2",
    "train|--self-test|--resume",
    "train|--set=epochs=1|--epochs=2",
    "train|--set=width=0.5|--set=width=0.25|--set=width=x",
    "train|--recipe=missing",
    "train|--recipe=photo.png",
    "train|--patience=1|--folds=2|--minutes=0",
    "slim|--epochs=1|--minutes=1",
    "slim|--resume",
    "slim|--faster=2|--max-drop=0",
    "evaluate|--rect|--tiles=2x2",
    "evaluate|--overlap=1",
    "evaluate|--overlap=-0.1",
    "evaluate|--overlap=nan|--tiles=2x2",
    "evaluate|--soft-nms|--iou=2",
    "evaluate|--set-thresholds|--split=train",
    "evaluate|--json=out/metrics.json",
    "evaluate|--weights=photo.png",
    "detect|--rect|--fit=stretch",
    "detect|--rect|--tiles=2x2",
    "detect|--reduce-jpeg|--tiles=2x2",
    "detect|--save=coco|--coco-ids=photo.png",
    "detect|--coco-ids=lines.txt",
    "detect|--sure=0.5|--conf=0.9",
    "detect|--overlap=0.99|--tiles=2x2",
    "detect|--overlap=2",
    "detect|--json=-|--save=images,json",
    "detect|--json=photo.png",
    "detect|--backend=openvino|--precision=int8",
    "detect|--backend=torch",
    "detect|--multi-label|--agnostic|--soft-nms|--iou=nan",
    "explain|--json=page.html",
    "explain|--json=-|--markdown",
    "explain|--truth=photo.png",
    "export|--to=darknet|--nms",
    "export|--to=darknet|--int8",
    "export|--to=ncnn|--int8",
    "export|--int8",
    "export|--calibrate=lines.txt",
    "export|--gate-on=lines.txt",
    "export|--no-gate",
    "export|--no-gate|--gate-on=lines.txt|--int8",
    "export|--max-drop=0.5",
    "export|--int8|--precision=float16",
    "export|--layout=nchw|--to=darknet",
    "export|--static|--to=darknet",
    "export|--conf=0.5",
    "export|--iou=0.5",
    "export|--out=new.xml",
    "export|--out=new.xyz",
    "bench|--out=photo.png",
    "bench|--batch=1|--against=onnxruntime|--threads=1,1,1",
    "tune|--out=photo.png",
    "rename|--out=cats.safetensors",
    "rename|cat=",
    "rename|=cat",
    "rename|zebra=cow",
    "rename|cat=dog",
    "rename|cat=cow|cat=sow",
    "rename|cat=" + "c" * 100_000,
    "rename|cat=\x1b[2J",
    "rename|cat=a,b",
    "data|check|--fix=out",
    "data|check|--fix=photo.png",
    "data|check|--detector=photo.png",
    "data|convert|--classes=zebra",
    "data|convert|--classes=green=green|--classes=green=blue",
    "data|convert|--classes=green=",
    "data|convert|--out=photo.png",
    "data|convert|--out=.",
    "data|next|--empty=photo.png",
    "data|next|--out=photo.png",
    "data|next|--count=1000000000",
    "fetch|../yolov3",
    "fetch|" + LONG,
    "models|extra",
    "recipes|extra",
)  # fmt: skip
# arguments with which each command runs, and ends soon if a value is harmless
WORDS = {
    "demo": "demo",
    "train": "train|lines.txt|--names=names.txt|--out=out|--model=yolov3-tiny|--size=64|--epochs=1|--batch=1"
    "|--set=width=0.125|--set=workers=0",
    "advise": "advise|lines.txt|--names=names.txt",
    "slim": "slim|cats.safetensors|--data=cats_lines.txt|--names=cats.txt|--out=out|--epochs=1"
    "|--set=workers=0",
    "evaluate": "evaluate|model.onnx|lines.txt|--names=names.txt|--out=out|--explain=0",
    "compare": "compare|model.onnx|other.onnx|lines.txt|--names=names.txt",
    "detect": "detect|model.onnx|photo.png|--out=out",
    "explain": "explain|cats.safetensors|photo.png|--out=page.html",
    "export": "export|cats.safetensors|--to=onnx|--out=new.onnx",
    "bench": "bench|cats.onnx|--rounds=1|--against=onnxruntime",
    "tune": "tune|cats.safetensors|--data=cats_lines.txt|--names=cats.txt|--rounds=1|--out=plan",
    "fetch": "fetch",
    "models": "models",
    "rename": "rename|cats.safetensors|--out=new.safetensors",
    "recipes": "recipes",
    "data_check": "data|check|lines.txt|--names=names.txt|--out=out",
    "data_stats": "data|stats|lines.txt|--names=names.txt",
    "data_anchors": "data|anchors|lines.txt|--names=names.txt",
    "data_convert": "data|convert|lines.txt|--names=names.txt|--to=coco|--out=out",
    "data_next": "data|next|cats.onnx|photo.png|--out=next.txt",
}
MISSING = {"fetch": "|yolov3-tiny", "rename": "|cat=cow"}  # options that the contradictions set themselves
SLOW = {"advise", "bench", "tune"}  # these take tens of seconds, so they run only with rejected values


def ready(folder: Path) -> Path:
    """Make models and annotated images."""
    folder.mkdir(parents=True)
    write_tiny_model(folder / "model.onnx")
    write_tiny_model(folder / "other.onnx")
    write_onnx(export_graph(read_source(write_model(folder / "cats.safetensors"))), folder / "cats.onnx")
    write_image(folder / "photo.png", image((96, 96), ((32, 32, 64, 64), YELLOW)))
    (folder / "lines.txt").write_text("photo.png 32,32,64,64,0\n")
    (folder / "cats_lines.txt").write_text("photo.png 32,32,64,64,0\n")
    (folder / "names.txt").write_text("green\nblue\n")
    (folder / "cats.txt").write_text("\n".join(INFO.names) + "\n")
    return folder


def wrong_values(flag: str, kinds: set[Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield values for an option, with the exit codes that are allowed for them."""
    kind = next(iter(kinds - {type(None)}))
    yield from ((value, (2,)) for value in WRONG.get(kind, ()))
    yield from ((value, (0, 1, 2)) for value in (*EDGES.get(kind, ()), *BY_OPTION.get(flag, ())))
    if flag == "--size":
        yield from ((value, (0, 1, 2)) for value in EDGE_SIZES)
    if kind in (str, Path):
        yield from ((value, (0, 1, 2)) for value in ODD_TEXT)
    if kind is Path:
        yield from ((value, (0, 1, 2)) for value in ("photo.png/x", ".", "/dev/full"))


def option_cases(top: Path) -> Iterator[Case]:
    """Yield every option of every command with wrong values, and then contradictory options."""
    made = ready(top / "ready")
    verbs = [*(verb for verb in VERBS if verb != "data"), *(f"data_{verb}" for verb in DATA_VERBS)]
    for verb in verbs:
        if verb == "demo":
            continue
        command = WORDS[verb] + MISSING.get(verb, "")
        function = getattr(import_module(f"lookonce.commands.{verb}"), verb)
        parameters = signature(function).parameters
        for option in load(verb).params:
            flag = max(option.opts, key=len)
            if not flag.startswith("--") or option.is_flag or flag == "--help":
                continue
            kind = get_args(parameters[option.name].annotation)[0]
            for number, (value, codes) in enumerate(wrong_values(flag, {*get_args(kind)} or {kind})):
                if verb in SLOW and codes != (2,):
                    continue
                here = shutil.copytree(made, top / f"{verb}{flag}-{number}")
                yield Case(here, f"{command}|{flag}={value}", codes, keeps=True)
                shutil.rmtree(here)
    for number, line in enumerate(CONTRADICTIONS):
        first = "_".join(line.split("|")[: 2 if line.startswith("data|") else 1])
        rest = line.split("|")[2 if line.startswith("data|") else 1 :]
        here = shutil.copytree(made, top / f"contradiction-{number}")
        yield Case(here, "|".join([WORDS[first], *rest]), (0, 1, 2), keeps=True)
        shutil.rmtree(here)
