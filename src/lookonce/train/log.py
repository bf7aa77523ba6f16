"""Log a run to TensorBoard and CSV files, and show its progress on the terminal."""

import csv
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.table import Column

from lookonce._console import RateColumn
from lookonce._counted import counted
from lookonce._files import read_text, write_text
from lookonce._optional import require
from lookonce._outputs import naming
from lookonce._terminal import progress_bar
from lookonce.config import TrainSettings
from lookonce.train.loop import Epoch, StepReport

STEPS, EPOCHS, BOARD = "steps.csv", "epochs.csv", "tensorboard"
LOSS_COLUMNS = ("total_loss", "giou_loss", "conf_loss", "prob_loss")
STEP_COLUMNS = ("step", "lr", *LOSS_COLUMNS)
EPOCH_COLUMNS = ("epoch", *LOSS_COLUMNS, "ap", "ap50", "images_per_second", "waited_share", "minutes")
DATA_BOUND = 0.1  # share of an epoch spent waiting for images above which the log warns


class RunLog:
    """Log of one run; a resumed run continues the same files without repeating rows.

    The TensorBoard tags are the write-up's (`lr`, `loss/total_loss`, `loss/giou_loss`, `loss/conf_loss`,
    `loss/prob_loss`), `val/ap`, `val/ap50`, and the images `val/predictions`.
    """

    def __init__(
        self,
        folder: Path,
        console: Console,
        settings: TrainSettings,
        *,
        images: int,
        steps: int,
        epoch: Epoch,
    ) -> None:
        """Open the log.

        Args:
            folder: run folder.
            console: console for the progress bar and the log lines.
            settings: settings of the run, which give its length in epochs or minutes.
            images: number of images per epoch.
            steps: number of steps per epoch.
            epoch: progress of the next epoch; rows of later epochs and steps are removed.
        """
        self._console, self._images, self._minutes = console, images, settings.minutes
        epochs = None if settings.minutes else settings.epochs
        done = epoch.number * steps + epoch.steps
        self._of_epochs = f"/{epochs}" if epochs else ""
        self._steps = _Table(folder / STEPS, STEP_COLUMNS, keep=done)
        self._epochs = _Table(folder / EPOCHS, EPOCH_COLUMNS, keep=epoch.number)
        board = require("torch.utils.tensorboard", "train").SummaryWriter
        self._board_folder, self._hook = folder / BOARD, threading.excepthook
        self._board: Any = board(str(self._board_folder), purge_step=done + 1)
        wide = Column(no_wrap=True)
        losses = TextColumn("{task.fields[losses]}", table_column=wide)
        self._bar = progress_bar(console, BarColumn(), RateColumn(wide), losses, TimeRemainingColumn())
        self._task = self._bar.add_task(
            f"epoch {epoch.number + 1}{self._of_epochs}",
            total=epochs and epochs * images,
            completed=epoch.number * images + epoch.meter.images,
            losses="",
            visible=epochs is None or epoch.number < epochs,
        )

    def __enter__(self) -> Self:
        threading.excepthook = self._board_failed
        self._bar.start()
        return self

    def _board_failed(self, failed: threading.ExceptHookArgs) -> None:
        """Ignore file errors, such as a full disk, in TensorBoard's thread: this thread raises them too."""
        of_board = type(failed.thread).__module__.startswith("tensorboard.")
        if not (of_board and isinstance(failed.exc_value, OSError)):
            self._hook(failed)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        with naming(self._board_folder):
            self._board.close()
        threading.excepthook = self._hook
        self._steps.close()
        self._epochs.close()

    def step(self, report: StepReport, epochs: float) -> None:
        """Log the steps since the last report; `epochs` is the currently planned length of the whole run."""
        losses = report.losses
        self._board.add_scalar("lr", report.rate, report.step)
        for term, value in losses.items():
            self._board.add_scalar(f"loss/{term}_loss", value, report.step)
        self._steps.add([report.step, report.rate, *losses.values()])
        text = (
            f"loss {losses['total']:.3g} = {losses['giou']:.3g} + {losses['conf']:.3g} + {losses['prob']:.3g}"
        )
        self._bar.update(self._task, advance=report.images, total=epochs * self._images, losses=text)

    def epoch(self, number: int, epoch: Epoch, metrics: Mapping[str, float], minutes: float) -> None:
        """Log a finished epoch, counted from 1; `metrics` is empty if it was not evaluated."""
        rate, waited = epoch.meter.images / epoch.seconds, epoch.waited / epoch.seconds
        losses = epoch.meter.means()
        ap, ap50 = metrics.get("ap", ""), metrics.get("ap50", "")
        self._epochs.add([number, *losses.values(), ap, ap50, rate, waited, minutes])
        for name, value in metrics.items():
            self._board.add_scalar(f"val/{name}", value, number)
        self._board.flush()
        line = f"epoch {number}{self._of_epochs}  loss {losses['total']:.4g}"
        if metrics:
            line += f"  AP50 {metrics['ap50']:.3f}  AP {metrics['ap']:.3f}"
        planned = f" of {self._minutes:g}" if self._minutes else ""
        line += f"  {rate:.1f} images/s  {minutes:.1f}{planned} min"
        if epoch.skipped:
            line += f"  [yellow]{counted(epoch.skipped, 'batch')} skipped: the loss was not finite[/]"
        if waited > DATA_BOUND:
            line += f"  [yellow]data-bound: {waited:.0%} of the time spent waiting for images"
        self._console.print(line, highlight=False, soft_wrap=True)
        self._bar.update(self._task, description=f"epoch {number + 1}{self._of_epochs}")

    def predictions(self, sheet: NDArray[np.uint8], epoch: int) -> None:
        """Log an image (H, W, 3) of detections to TensorBoard, under the number of an epoch."""
        self._board.add_image("val/predictions", sheet, epoch, dataformats="HWC")


class _Table:
    """CSV file written row by row; its first column holds increasing numbers from 1."""

    def __init__(self, path: Path, columns: Sequence[str], keep: int) -> None:
        rows = []
        if keep and path.exists():
            rows = list(csv.reader(read_text(path).splitlines()))[1:]
            # a full disk may have left an incomplete row
            rows = [
                row
                for row in rows
                if len(row) == len(columns) and row[0].isdecimal() and int(row[0][:9]) <= keep
            ]
        write_text(path, "".join(",".join(row) + "\n" for row in [columns, *rows]))
        self._file = path.open("a", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file, lineterminator="\n")

    def add(self, row: Sequence[object]) -> None:
        """Write and flush a row."""
        self._writer.writerow(f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row)
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
