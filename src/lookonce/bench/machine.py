"""Circumstances that every measured number depends on."""

import os
import platform
from contextlib import suppress
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lookonce.runtime.processor import this_processor

ENGINES = ("onnxruntime", "openvino", "torch", "opencv-python-headless", "numpy")


def about_machine() -> dict[str, Any]:
    """Return date, CPU, cores, Python, and the versions of the installed engines."""
    versions = {}
    for name in ENGINES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {
        "date": str(date.today()),
        "processor": this_processor().name,
        "instructions": this_processor().instructions,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
    }
