"""Train a detector on annotated images, in the same steps as `lookonce train`.

    python examples/train_from_python.py DATA OUT [NAME=VALUE ...]

DATA is any data set with a validation split that `lookonce train` can read. NAME=VALUE changes a setting,
such as model=yolov3 or epochs=60. The four parts of training are the architecture
(`lookonce.model.network.build`), the loss (`lookonce.train.loss.compute_losses`), the optimizer
(`lookonce.train.optimizer.make_optimizer`) and the step (`lookonce.train.loop.train_one_epoch`).
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from lookonce import Detector, LookonceError
from lookonce.annotations import load_samples
from lookonce.recipe import load_settings
from lookonce.train.run import Session, train
from lookonce.train.setup import TrainData


def main(data: Path, out: Path, assignments: Sequence[str]) -> None:
    """Read the data, train, and detect objects in the first validation image."""
    training, validation = load_samples(data, "train"), load_samples(data, "val")
    print(training.describe())
    settings = load_settings(None, assignments)
    result = train(
        TrainData(training.names, training.samples, validation.samples), settings, out, Session(Console())
    )
    done = result.progress
    print(f"finished {done.epochs} of {settings.epochs} epochs, best AP {done.best_ap:.3f}: {result.model}")
    with Detector.open(result.model, conf=0.25) as detector:
        print(f"{len(detector(validation.samples[0].path))} objects on {validation.samples[0].path.name}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
    except LookonceError as error:
        sys.exit(f"{error}")
