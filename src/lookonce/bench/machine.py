"""Circumstances that every measured number depends on."""

import os
import platform
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lookonce.runtime.processor import this_processor

ENGINES = ("onnxruntime", "openvino", "torch", "opencv-python-headless", "numpy")


def about_machine() -> dict[str, Any]:
    """Return date, processor, cores, Python, and the versions of the installed engines."""
    return {
        "date": str(date.today()),
        "processor": this_processor().name,
        "instructions": this_processor().instructions,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: found for name in ENGINES if (found := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
