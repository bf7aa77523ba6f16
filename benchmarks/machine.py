"""The line that stands above every result: date, machine, versions."""

import os
import platform
from datetime import date
from importlib.metadata import version
from pathlib import Path


def machine_line(*packages: str) -> str:
    """Date, processor, cores, load, Python and the versions of the packages named."""
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    machine = f"{cpu_name()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    return f"{date.today()}  {machine}\nPython {platform.python_version()}, {versions}"


def cpu_name() -> str:
    """The processor as the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
