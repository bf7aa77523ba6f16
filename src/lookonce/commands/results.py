"""Define the results of the commands that are also functions in Python: `train`, `evaluate` and `export`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lookonce.evaluate.coco import Metrics
    from lookonce.evaluate.report import Evaluation
    from lookonce.export.int8 import Quantized
    from lookonce.export.verify import Proof


@dataclass(frozen=True, slots=True)
class Trained:
    """The result of a training run.

    Attributes:
        folder: run folder.
        model: path of the best model; None after a self-test or a cross-validation, or if the run was
            stopped.
        ap: AP of the best model on the validation images; NaN without validation images.
        epoch: epoch of the best model; 0 if the last model counts as the best.
        epochs: number of finished epochs.
        exit_code: 0 on success, 1 if a self-test failed, or 128 plus the number of the signal that stopped
            the run.
    """

    folder: Path
    model: Path | None = None
    ap: float = float("nan")
    epoch: int = 0
    epochs: int = 0
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The result of an evaluation.

    Attributes:
        folder: folder with `report.html`, `metrics.json` and the curves.
        evaluation: all metrics, by class and overall.
        exit_code: 0 on success, 1 if annotations or images were skipped.
    """

    folder: Path
    evaluation: "Evaluation"
    exit_code: int

    @property
    def metrics(self) -> "Metrics":
        """Return COCO's metrics, such as `metrics.ap` and `metrics.ap50`."""
        return self.evaluation.metrics


@dataclass(frozen=True, slots=True)
class Exported:
    """The result of an export.

    Attributes:
        path: path of the written file; the name of a rejected int8 file has `rejected` in it.
        proof: comparison with the model; None for int8 and Darknet files.
        int8: calibration, and AP before and after; None if `int8` was not requested.
        exit_code: 0 on success, 1 if an int8 file was rejected.
    """

    path: Path
    proof: "Proof | None" = None
    int8: "Quantized | None" = None
    exit_code: int = 0
