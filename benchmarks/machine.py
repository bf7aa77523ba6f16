"""The line that stands above every result: date, machine, versions."""

import os
import platform
from datetime import date
from importlib.metadata import version

from lookonce.bench.machine import processor_name


def machine_line(*packages: str) -> str:
    """Date, processor, cores, load, Python and the versions of the packages named."""
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    machine = f"{processor_name()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    return f"{date.today()}  {machine}\nPython {platform.python_version()}, {versions}"
