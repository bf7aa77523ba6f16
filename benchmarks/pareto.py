"""AP and time of trained models on one test split, as a table and a plot.

    python benchmarks/pareto.py TEST.json --images DIR --rows front.csv --plot front.png \
        --base 320 "tiny, 6 epochs=runs/tiny/best.safetensors" "slim at 416=runs/slim/best.safetensors@416"

Each model is evaluated once, at the size that it was trained for or at the size given after `@`. It is timed
in ONNX Runtime on all cores, in turn with a dense yolov3-tiny (random weights, 80 classes) at the size
`--base`, and its time is relative to that network, so rows from different days and machines can be compared.
Rows in the CSV are not measured again; without models, the existing rows are drawn. A model is on the front
if no other model is at least as good in both AP and time.

With `--int8 DATA`, both networks are quantized for OpenVINO on images of DATA, and timed and evaluated in
int8.
"""

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from machine import machine_line
from matplotlib.figure import Figure
from random_models import write_random

from lookonce._terminal import terminal
from lookonce.commands.evaluate import evaluate
from lookonce.config import parse_size
from lookonce.export.files import write_onnx
from lookonce.export.graph import export_graph, with_size
from lookonce.export.int8 import Int8, choose_images
from lookonce.export.quantize_openvino import quantize_openvino
from lookonce.export.source import FloatModel, read_source
from lookonce.gate import time_in_turn
from lookonce.geometry.sizes import size_text

TICKS = 0.1, 0.2, 0.5, 1, 2, 5  # of the time axis


@dataclass(frozen=True, slots=True)
class Row:
    """The results of a model.

    Attributes:
        name: label in the table.
        size: input size as text.
        parameters: number of parameters.
        multiple: time per image, as a multiple of a dense yolov3-tiny at the base size.
        milliseconds: time per image on the machine of the measurement.
        ap50: AP at IoU 0.50 on the test split.
        ap: AP on the test split.
    """

    name: str
    size: str
    parameters: int
    multiple: float
    milliseconds: float
    ap50: float
    ap: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("test", type=Path)
    parser.add_argument("models", nargs="*", metavar="NAME=MODEL[@SIDE]")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--rows", type=Path, required=True, help="CSV to continue")
    parser.add_argument("--plot", type=Path, required=True)
    parser.add_argument("--base", type=int, required=True, help="side of the dense yolov3-tiny")
    parser.add_argument("--int8", type=Path, metavar="DATA", help="quantize on these images")
    options = parser.parse_intermixed_args()
    print(machine_line("openvino" if options.int8 else "onnxruntime", "numpy"))
    rows = read_rows(options.rows)
    for given in options.models:
        name, _, model = given.rpartition("=")
        if name not in [row.name for row in rows]:
            rows.append(measure(name, model, options))
            write_rows(options.rows, rows)
    table(rows)
    plot(rows, options.plot, options.base)


def measure(name: str, given: str, options: argparse.Namespace) -> Row:
    model, _, side = given.partition("@")
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = read_source(Path(model))
        size = parse_size(side) if side else source.info.input_size
        dense = read_source(write_random("yolov3-tiny", folder, options.base))
        own = with_size(source, size)
        files = write(dense, folder / "dense", options.int8), write(own, folder / "own", options.int8)
        inputs = [
            np.random.default_rng(0).integers(0, 256, (2, *each.info.input_size, 3), np.uint8)
            for each in (dense, own)
        ]
        base, mine = time_in_turn(files, inputs)
        metrics = evaluate(
            files[1] if options.int8 else Path(model),
            options.test,
            images=options.images,
            size=size_text(size),
            out=folder / "report",
            explain=0,
        ).metrics
    numbers = mine / base, mine, metrics.ap50, metrics.ap
    return Row(name, size_text(size), source.network.numbers, *numbers)


def write(source: FloatModel, path: Path, calibrate: Path | None) -> Path:
    """Write a model file and return its path: int8 for OpenVINO if `calibrate` is given, else ONNX."""
    graph, file = export_graph(source), path.with_suffix(".xml" if calibrate else ".onnx")
    if calibrate:
        images, _ = choose_images(Int8(calibrate, gate=False), source.info, terminal())
        quantize_openvino(graph, images, file)
    else:
        write_onnx(graph, file)
    return file


def read_rows(path: Path) -> list[Row]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            Row(each["name"], each["size"], int(each["parameters"]), *map(float, list(each.values())[3:]))
            for each in csv.DictReader(file)
        ]


def write_rows(path: Path, rows: list[Row]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Row.__slots__)
        writer.writerows([getattr(row, name) for name in Row.__slots__] for row in rows)


def on_front(row: Row, rows: list[Row]) -> bool:
    return not any(
        other.ap >= row.ap
        and other.multiple <= row.multiple
        and (other.ap, other.multiple) != (row.ap, row.multiple)
        for other in rows
    )


def table(rows: list[Row]) -> None:
    print("| model | size | parameters | time, as a multiple of dense yolov3-tiny | AP50 | AP | front |")
    print("|---|---|---|---|---|---|---|")
    for row in sorted(rows, key=lambda row: row.multiple):
        front = "yes" if on_front(row, rows) else ""
        print(
            f"| {row.name} | {row.size} | {row.parameters:,} | {row.multiple:.2f} | {row.ap50:.3f} "
            f"| {row.ap:.3f} | {front} |"
        )


def plot(rows: list[Row], path: Path, base: int) -> None:
    figure = Figure((8.4, 5), layout="constrained")
    axes = figure.add_subplot()
    front = sorted((row for row in rows if on_front(row, rows)), key=lambda row: row.multiple)
    axes.plot([row.multiple for row in front], [row.ap for row in front], color="#888", linewidth=1, zorder=1)
    for row in rows:
        axes.scatter(row.multiple, row.ap, color="#1f5fa8" if row in front else "#999", zorder=2)
    axes.set(xlabel=f"time, as a multiple of a dense yolov3-tiny at {base}", ylabel="AP on the test split")
    axes.set_xscale("log")
    # leave room for labels: to the left of points on the front, to the right of the others
    axes.set_xlim(min(row.multiple for row in rows) / 5, 5 * max(row.multiple for row in rows))
    axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axes.minorticks_off()
    axes.grid(color="#ddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.draw_without_rendering()  # places the axes
    others = [row for row in rows if row not in front]
    line = {"arrowstyle": "-", "color": "#aaa", "linewidth": 0.7, "shrinkA": 1}
    for part, align, shift, side in ((front, "right", -7, 1), (others, "left", 7, 0)):
        lowest = float("inf")
        for row in sorted(part, key=lambda row: -row.ap):  # each label below the one before
            height = axes.transData.transform((row.multiple, row.ap))[1] * 72 / figure.dpi
            lowest = min(height, lowest - 11)
            is_moved = lowest < height - 11
            axes.annotate(
                row.name,
                (row.multiple, row.ap),
                xytext=(shift, lowest - height - 3),
                textcoords="offset points",
                horizontalalignment=align,
                fontsize=9,
                arrowprops=line | {"relpos": (side, 0.5)} if is_moved else None,
            )
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
