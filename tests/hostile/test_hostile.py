"""A few of the hostile inputs on every run of the tests; `make hostile` runs them all."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PICKS = (
    "images=two_headers",
    "labels=itself",
    "models=12",
    "data=50",
    "paths=loop-20",
    "options=80",
    "videos=50",
)
HERE = Path(__file__).parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory and FIFOs")
def test_hostile_inputs_end_in_one_line() -> None:
    """All cases run in one process, because imports take longer than the cases."""
    words = [word for pick in PICKS for word in ("--pick", pick)]
    command = [sys.executable, "-m", "tests.hostile.run", *words]
    ran = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    kinds = dict(re.findall(r"^(\w+): (\d+) runs", ran.stdout, re.MULTILINE))
    assert kinds.keys() == {pick.partition("=")[0] for pick in PICKS}
    assert all(int(count) for count in kinds.values()), "a pick that finds no case"
