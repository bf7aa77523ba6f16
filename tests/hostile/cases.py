"""Cases of `inputs`: each hostile input alone and, if a run reads several inputs, among good ones."""

import json
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path

from tests.hostile import further, inputs
from tests.hostile.inputs import BOX, GOOD, Content, Make, fifo, link
from tests.hostile.limits import Case, run
from tests.hostile.options import option_cases
from tests.hostile.videos import videos
from tests.tiny_onnx import write_tiny_model


def desk(folder: Path) -> Path:
    """Make a folder with a model and good inputs."""
    folder.mkdir(parents=True)
    write_tiny_model(folder / "model.onnx")
    GOOD.save(folder / "a.png")
    return folder


def prepared(folder: Path, files: Mapping[str, Make]) -> None:
    """Make the folder of one or more cases with the given files, unless it exists."""
    if not folder.exists():
        desk(folder)
        for name, make in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            make(folder / name)


def good_images(folder: Path, names: str) -> None:
    """Make a folder of good images, each named by a letter."""
    folder.mkdir(parents=True)
    for name in names:
        GOOD.save(folder / f"{name}.png")


def good_labels(folder: Path) -> None:
    """Make a YOLO set of two images."""
    good_images(folder / "images", "19")
    (folder / "labels").mkdir()
    (folder / "classes.txt").write_text("a\nb\n")
    for name in "19":
        (folder / "labels" / f"{name}.txt").write_text(BOX)


def detections(here: Path) -> object:
    """Return the detections on the two good images."""
    tree = json.loads((here / "among" / "detections.json").read_text())
    found = {each["file"]: each["detections"] for each in tree["images"]}
    return [found[f"all/{name}.png"] for name in "19"]


def without_hostile(top: Path, command: str) -> object:
    """Return the detections on only the two good images."""
    here = desk(top / "good")
    good_images(here / "all", "19")
    run(command, here)
    return detections(here)


def among_good(here: Path, name: str, content: Content) -> None:
    """Make a folder with a hostile file, alone and between good images in `all`, unless it exists."""
    if here.exists():
        return
    data = content if isinstance(content, bytes) else content()
    (desk(here) / name).write_bytes(data)
    good_images(here / "all", "19")
    (here / "all" / f"5{name}").write_bytes(data)
    (here / "lines.txt").write_text(f"all/1.png 32,0,64,32,0\nall/5{name} 1,1,9,9,0\n")
    (here / "names.txt").write_text("green\nblue\n")


def image_cases(top: Path) -> Iterator[Case]:
    """Yield every hostile image alone, in a page, between two good images, and in a data set."""
    among = "detect|model.onnx|all|--out|among"
    expected = without_hostile(top, among)
    for name, content in chain(inputs.images(), further.images()):
        here = top / name
        case = partial(Case, here, prepare=partial(among_good, here, name, content))
        odd = (0, 1, 2)  # valid, or damaged after the necessary part
        yield case(f"detect|model.onnx|{name}|--out|out", odd)
        yield case(among, (0, 1), partial(detections, here), expected)
        yield case(f"explain|coco|{name}|--out|page.html", odd)
        yield case("data|check|lines.txt|--names|names.txt|--out|check", odd)
        yield case("evaluate|model.onnx|lines.txt|--names|names.txt|--out|eval", odd)


def video_cases(top: Path) -> Iterator[Case]:
    """Yield every hostile video alone, and between two good images."""
    among = "detect|model.onnx|all|--out|among|--save|json"
    expected = without_hostile(top, among)
    for name, content in videos():
        here = top / name
        case = partial(Case, here, prepare=partial(among_good, here, name, content))
        yield case(f"detect|model.onnx|{name}|--out|out", (0, 1, 2))
        yield case(among, (0, 1), partial(detections, here), expected)
        shutil.rmtree(here, ignore_errors=True)


def model_cases(top: Path) -> Iterator[Case]:
    """Yield every hostile model in detect and export."""
    for name, make in chain(inputs.models(), further.models()):
        here = top / name
        prepare = partial(prepared, here, {name: make})
        codes = (0, 2) if name in further.HARMLESS_MODELS else (2,)
        yield Case(here, f"detect|{name}|a.png|--out|out", codes, prepare=prepare)
        yield Case(here, f"export|{name}|--to|onnx|--out|new.onnx", codes, prepare=prepare)


def data_cases(top: Path) -> Iterator[Case]:
    """Yield every hostile data set in check and convert."""
    for name, files in chain(inputs.data_sets(), further.data_sets()):
        here = top / name
        inside = {f"data/{file}": make for file, make in files.items()}
        prepare = partial(prepared, here, {"data/a.png": GOOD.save, **inside})
        yield Case(here, "data|check|data|--out|out", (0, 1, 2), prepare=prepare)
        yield Case(here, "data|convert|data|--to|yolo|--out|new", (0, 1, 2), prepare=prepare)
    for name, make in chain(inputs.archives(), further.archives()):
        here = top / name
        prepare = partial(prepared, here, {name: make})
        yield Case(here, f"data|check|{name}|--out|out", (0, 1, 2), prepare=prepare)


def converted(here: Path) -> object:
    """Return the rows of the two good images."""
    return [path.read_text() for path in sorted(here.glob("new/**/[19].txt"))]


def label_cases(top: Path) -> Iterator[Case]:
    """Yield every hostile label file between two good ones."""
    command = "data|convert|data|--to|yolo|--out|new"
    expected = None
    for name, make in chain(inputs.labels(), further.labels()):
        here = desk(top / name)
        good_labels(here / "data")
        if expected is None:
            run(command, here)
            expected = converted(here)
            shutil.rmtree(here / "new")
        GOOD.save(here / "data" / "images" / "a.png")
        make(here / "data" / "labels" / "a.txt")
        yield Case(here, command, (0, 1), partial(converted, here), expected)
        yield Case(here, "data|check|data|--out|out", (0, 1))


def path_cases(top: Path) -> Iterator[Case]:
    """Yield a FIFO, an endless device, a folder, a loop and a broken link wherever a command reads a file."""
    commands = (
        "detect|{}|a.png",
        "detect|model.onnx|{}",
        "detect|model.onnx|@{}",
        "detect|model.onnx|a.png|--save|coco|--coco-ids|{}",
        "explain|model.onnx|{}",
        "explain|model.onnx|a.png|--truth|{}",
        "explain|model.onnx|a.png|--truth|lines.txt|--names|{}",
        "explain|model.onnx|a.png|--out|{}",
        "explain|model.onnx|a.png|--json|{}",
        "evaluate|model.onnx|{}",
        "evaluate|model.onnx|lines.txt|--names|{}",
        "evaluate|model.onnx|lines.txt|--names|names.txt|--json|{}",
        "data|check|{}",
        "data|check|lines.txt|--detector|{}",
        "data|check|lines.txt|--names|{}",
        "data|stats|lines.txt|--names|{}",
        "data|anchors|{}",
        "data|convert|{}|--to|coco|--out|new",
        "data|convert|lines.txt|--to|coco|--out|{}",
        "export|{}|--to|onnx",
        "export|model.onnx|--to|onnx|--out|{}",
        "export|model.onnx|--to|onnx|--verify-on|{}|--out|new.onnx",
        "train|{}",
        "train|lines.txt|--names|names.txt|--weights|{}",
        "train|lines.txt|--names|names.txt|--recipe|{}",
        "train|lines.txt|--names|names.txt|--out|{}",
        "bench|{}",
    )
    kinds = {"fifo": fifo, "zero": link("/dev/zero"), "loop": link("loop"), "lost": link("nowhere/x")}
    for kind, make in kinds.items():
        for command in commands:
            here = desk(top / f"{kind}-{commands.index(command)}")
            (here / "lines.txt").write_text("a.png 32,0,64,32,0\n")
            (here / "names.txt").write_text("green\n")
            suffix = {"detect|{}|": ".onnx", "detect|model.onnx|{}": ".png", "explain|model.onnx|{}": ".png"}
            name = kind + next((end for begin, end in suffix.items() if command.startswith(begin)), "")
            make(here / name)
            yield Case(here, command.format(name), (2,))


KINDS = {
    "images": image_cases,
    "videos": video_cases,
    "models": model_cases,
    "data": data_cases,
    "labels": label_cases,
    "paths": path_cases,
    "options": option_cases,
}
