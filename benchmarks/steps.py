"""Time of a network that loses channels in steps of 8 or of 16, by how much importance it loses.

    python benchmarks/steps.py PARENT.safetensors DATA --images DIR

The networks are those that `lookonce slim` would choose for a few shares of PARENT's multiplications, before
training. The importance that a network loses is that of its removed channels, as a share of all. Times are
those of ONNX Runtime on all cores, with all networks in turn.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from machine import machine_line
from rich.console import Console

from lookonce.annotations import GivenData
from lookonce.darknet.channels import Channels, Cost, choose, without
from lookonce.darknet.described import describe
from lookonce.gate import time_in_turn
from lookonce.recipe import load_settings
from lookonce.train.reading import load_data
from lookonce.train.setup import as_trained
from lookonce.train.slim import Parent, importance_of, read_parent, same_classes

SHARES = (0.33, 0.25, 0.2, 0.15)  # of the multiplications
STEPS = (8, 16)
ROUNDS = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parent", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=Path)
    options = parser.parse_args()
    print(machine_line("onnxruntime", "numpy"), flush=True)
    parent, _ = read_parent(options.parent)
    settings = as_trained(load_settings(None, (), size=parent.info.input_size), parent.info)
    given = GivenData(options.data, images=options.images)
    data = load_data(given, settings, Console(quiet=True), record=False)
    channels = Channels(parent.network)
    importance = importance_of(channels, parent, same_classes(data, parent.info, options.parent), settings)
    whole = Cost(parent.network).total
    rows = []
    with TemporaryDirectory() as temporary:
        files = [Path(temporary, "parent.onnx")]
        parent.save_onnx(files[0])
        for share in SHARES:
            for step in STEPS:
                removed = choose(channels, importance.tolist(), share, step)
                network, weights = without(channels, parent.weights, removed)
                info = replace(describe(network, parent.info.names), bn_epsilon=parent.info.bn_epsilon)
                files.append(Path(temporary, f"{share}-{step}.onnx"))
                Parent(network, weights, info).save_onnx(files[-1])
                lost = importance[sorted(removed)].sum() / importance.sum()
                rows.append((step, Cost(network).total / whole, lost))
        inputs = np.random.default_rng(0).integers(0, 256, (2, *parent.info.input_size, 3), np.uint8)
        before, *after = time_in_turn(files, [inputs] * len(files), rounds=ROUNDS)
    print("\n| step | multiplications | importance lost | times as fast |")
    print("|---|---|---|---|")
    for (step, share, lost), milliseconds in zip(rows, after, strict=True):
        print(f"| {step} | {share:.0%} | {lost:.1%} | {before / milliseconds:.2f} |")


if __name__ == "__main__":
    main()
