"""A few of the hostile inputs on every run of the tests; `make hostile` runs them all."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory and FIFOs")
@pytest.mark.parametrize(
    "words",
    [
        ["--kind", "images", "--name", "two_headers"],
        ["--kind", "labels", "--name", "itself"],
        ["--kind", "models", "--every", "12"],
        ["--kind", "data", "--every", "50"],
        ["--kind", "paths", "--name", "loop-20"],
        ["--kind", "options", "--every", "80"],
        ["--kind", "videos", "--every", "50"],
    ],
)
def test_hostile_inputs_end_in_one_line(words: list[str]) -> None:
    command = [sys.executable, "-m", "tests.hostile.run", *words]
    ran = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert not ran.stdout.startswith("0 runs")
