"""`docs/scaling.md` has the tables of `benchmarks/scaling.py`, and the counts agree with published ones."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def scaling() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scaling", ROOT / "benchmarks/scaling.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up their module there
    spec.loader.exec_module(module)
    return module


def test_the_page_has_the_tables_that_the_command_prints(
    scaling: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    scaling.main()
    printed = capsys.readouterr().out.strip().split("\n\n")
    page = (ROOT / "docs/scaling.md").read_text(encoding="utf-8")
    tables = re.findall(r"(?:^\| .+\n)+", page, re.MULTILINE)
    assert len(printed) == 6
    for table in printed:
        assert f"{table}\n" in tables


def test_the_operation_count_matches_the_paper(scaling: ModuleType) -> None:
    assert scaling.count(416).forward == pytest.approx(65.86, abs=0.01)  # paper, table 3, column Bn Ops


@pytest.mark.parametrize(("size", "gigabytes"), [(416, 3.8), (608, 7.1)])
def test_the_memory_matches_mmdetection(scaling: ModuleType, size: int, gigabytes: float) -> None:
    network = scaling.count(size)
    needed = 8 * network.kept + scaling.SGD_COPIES * 4 * network.weights
    assert needed / 1e9 == pytest.approx(gigabytes, rel=0.05)
