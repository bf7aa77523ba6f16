"""Time of each layer of OpenVINO models with the same layers, such as a network and its slim version in int8.

    python benchmarks/layers.py int8-symmetric.xml slim/int8-symmetric.xml --size 320

OpenVINO's own counters, median over the rounds, with the models in turn. Layers that take less than
`--least` ms in every model are summed up in the row "others".
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import openvino
from machine import machine_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--size", type=int, required=True, help="side of the input")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--least", type=float, default=0.1, metavar="MS")
    options = parser.parse_args()
    print(machine_line("openvino", "numpy"))
    requests = [compiled(path, options.size).create_infer_request() for path in options.models]
    image = np.random.default_rng(0).integers(0, 256, (1, options.size, options.size, 3), np.uint8)
    seconds: list[dict[str, list[float]]] = [defaultdict(list) for _ in requests]
    for _ in range(options.rounds):
        for request, layers in zip(requests, seconds, strict=True):
            request.infer([image])
            spent: dict[str, float] = defaultdict(float)
            for each in request.get_profiling_info():
                spent[f"{each.node_name.split('/')[0]}, {each.node_type}"] += each.real_time.total_seconds()
            for name, total in spent.items():
                layers[name].append(total)
    columns = [{name: 1000 * float(np.median(times)) for name, times in layers.items()} for layers in seconds]
    report(columns, options)


def compiled(path: Path, side: int) -> openvino.CompiledModel:
    """Compile a model as lookonce does, with counters, for one square image."""
    core = openvino.Core()
    model = core.read_model(path)
    model.reshape([1, side, side, 3])
    return core.compile_model(
        model,
        "CPU",
        {"PERF_COUNT": "YES", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"},
    )


def report(columns: list[dict[str, float]], options: argparse.Namespace) -> None:
    print(f"\n| layer | {' | '.join(str(path) for path in options.models)} |")
    print("|---|" + "---|" * len(columns))
    small = [0.0] * len(columns)
    for name in dict.fromkeys(name for column in columns for name in column):
        times = [column.get(name, 0.0) for column in columns]
        if max(times) < options.least:
            small = [total + each for total, each in zip(small, times, strict=True)]
        else:
            print(f"| {name} | {' | '.join(f'{each:.2f}' for each in times)} |")
    print(f"| others | {' | '.join(f'{each:.2f}' for each in small)} |")
    print(f"| all | {' | '.join(f'{sum(column.values()):.2f}' for column in columns)} |")


if __name__ == "__main__":
    main()
