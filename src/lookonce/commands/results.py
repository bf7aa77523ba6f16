"""Results of commands that are functions in Python too: `lookonce.train`, `evaluate` and `export`."""

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
    """Result of a training.

    Attributes:
        folder: run folder.
        model: path of the best model; None after a self-test, or if the run was stopped.
        ap: its AP on the validation images; NaN if there are none.
        epoch: epoch of the best model; 0 if the last one counts as the best.
        epochs: number of finished epochs.
        exit_code: 0 done, 1 self-test failed, 128 and the number of the signal that stopped the run.
    """

    folder: Path
    model: Path | None = None
    ap: float = float("nan")
    epoch: int = 0
    epochs: int = 0
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Result of an evaluation.

    Attributes:
        folder: folder with `report.html`, `metrics.json` and the curves.
        evaluation: every number, by class and over all.
        exit_code: 0 done, 1 some annotations or images were skipped.
    """

    folder: Path
    evaluation: "Evaluation"
    exit_code: int

    @property
    def metrics(self) -> "Metrics":
        """Return COCO's numbers: `metrics.ap`, `metrics.ap50`, ..."""
        return self.evaluation.metrics


@dataclass(frozen=True, slots=True)
class Exported:
    """Result of an export.

    Attributes:
        path: the file written; its name tells if an int8 file was rejected.
        proof: comparison with the model; None for int8 and Darknet files.
        int8: calibration and AP before and after; None for another precision.
        exit_code: 0 written, 1 int8 that lost too much.
    """

    path: Path
    proof: "Proof | None" = None
    int8: "Quantized | None" = None
    exit_code: int = 0
