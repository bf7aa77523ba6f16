"""Describe the machine above every result."""

import os
import platform
from datetime import date
from importlib.metadata import version

from lookonce.runtime.cpu import this_cpu


def machine_line(*packages: str) -> str:
    """Return two lines: date, processor, cores and load, and the versions of Python and the packages."""
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    machine = f"{this_cpu()} of {os.cpu_count()}, load {os.getloadavg()[0]:.1f}"
    return f"{date.today()}  {machine}\nPython {platform.python_version()}, {versions}"
