"""Collect how a model was trained, from its description and from its run folder if it is still in one."""

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
COUNTED = ("images", "boxes", "validation")  # numbers about the training data


def training_record(model: Path, info: ModelInfo) -> dict[str, Any] | None:
    """Return the record of a model's training, for JSON; None if the model file has none.

    Args:
        model: model file; if it is in its run folder, settings, date and epochs are added.
        info: description in the model file.
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
        pass  # the model is not in a run folder, or that folder is damaged
    return record
