"""How a model was trained: from its description, and from the run folder around it if it is there."""

import csv
from datetime import datetime
from pathlib import Path
from typing import Any

from lookonce._files import TEXT_LIMIT, read_text
from lookonce.config import TrainSettings, flat
from lookonce.errors import ConfigError, LookonceError
from lookonce.geometry.sizes import size_text
from lookonce.metadata import ModelInfo
from lookonce.recipe import load_settings

SETTINGS, EPOCHS = "settings.yaml", "epochs.csv"
COUNTED = ("images", "boxes", "validation")  # of the data


def training_record(model: Path, info: ModelInfo) -> dict[str, Any] | None:
    """Return how a model was trained, for JSON; None if the file has no record.

    Args:
        model: model file. A run folder around it adds settings, date and one entry per epoch.
        info: description in the file.
    """
    if not info.training:
        return None
    trained_on = dict(info.training.get("data", {}))
    record: dict[str, Any] = {
        "network": info.architecture,
        "size": size_text(info.input_size),
        "width": info.width,
        "classes": len(info.names),
        "epoch": info.training.get("epoch"),
        "data": {name: trained_on[name] for name in COUNTED if name in trained_on},
        "settings": {},
        "finished": None,
        "epochs": [],
    }
    try:
        own, usual = flat(load_settings(model.parent / SETTINGS)), flat(TrainSettings())
        record["settings"] = {name: value for name, value in own.items() if value != usual[name]}
        rows = csv.DictReader(read_text(model.parent / EPOCHS, ConfigError, limit=TEXT_LIMIT).splitlines())
        record["epochs"] = [{name: float(cell) for name, cell in row.items() if cell} for row in rows]
        written = datetime.fromtimestamp((model.parent / EPOCHS).stat().st_mtime).astimezone()
        record["finished"] = written.strftime("%Y-%m-%d %H:%M")
    except (LookonceError, OSError, TypeError, ValueError):
        pass  # the model was moved out of its run folder, or the folder is another's
    return record
