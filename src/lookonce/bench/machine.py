"""The machine and the versions on which measured numbers depend."""

import os
import platform
from contextlib import suppress
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lookonce.runtime.cpu import this_cpu

ENGINES = ("onnxruntime", "openvino", "ncnn", "torch", "opencv-python-headless", "numpy")


def about_machine() -> dict[str, Any]:
    """Return the date, the CPU, its number of cores, and the versions of Python and installed engines."""
    versions = {}
    for name in ENGINES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {
        "date": str(date.today()),
        "cpu": this_cpu().name,
        "instructions": this_cpu().instructions,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
    }
