"""Circumstances that every measured number depends on."""

import os
import platform
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ENGINES = ("onnxruntime", "openvino", "torch", "opencv-python-headless", "numpy")


def about_machine() -> dict[str, Any]:
    """Return date, processor, cores, Python, and the versions of the installed engines."""
    return {
        "date": str(date.today()),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: found for name in ENGINES if (found := _version(name))},
    }


def processor_name() -> str:
    """Return the processor's name, as the system reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
