"""`scripts/audit.py` does not take an empty answer for a clean one."""

import json
import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "audit.py"
KNOWN = {"name": "jinja2", "version": "2.4.1", "vulns": [{"id": "CVE-2014-1402", "fix_versions": ["2.7.2"]}]}
CLEAN = {"name": "numpy", "version": "2.4.6", "vulns": []}
SKIPPED = {"name": "torch", "skip_reason": "Dependency not found on PyPI"}
OUR_OWN = {"name": "lookonce", "skip_reason": "Dependency not found on PyPI"}


def audit(
    answers: dict[tuple[str, bool], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> tuple[int, str]:
    """Run the script with given answers of pip-audit, per database and for the release with a known fault."""

    def answer(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        key = command[command.index("--service") + 1], "--requirement" in command
        said = json.dumps({"dependencies": answers[key]}) if key in answers else "Traceback: no connection"
        return subprocess.CompletedProcess(command, 1, said, "")

    monkeypatch.setattr(subprocess, "run", answer)
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    said = capsys.readouterr()
    assert isinstance(left.value.code, int)
    return left.value.code, said.out + said.err


@pytest.mark.parametrize("unaware", [[SKIPPED], [CLEAN], []])
def test_a_database_that_knows_nothing_is_not_trusted(
    unaware: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = audit({("pypi", True): unaware, ("pypi", False): [CLEAN]}, monkeypatch, capsys)
    assert code == 2
    assert said.startswith("could not ask: no advisory database (pypi, osv) reports jinja2==2.4.1")


def test_the_second_database_is_asked_if_the_first_does_not_know(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = {("osv", True): [KNOWN], ("osv", False): [CLEAN, OUR_OWN]}
    assert audit(answers, monkeypatch, capsys) == (0, "checked: 1\n")


def test_vulnerabilities_and_unchecked_packages_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.9.0")
    code, said = audit({("pypi", True): [KNOWN], ("pypi", False): [CLEAN, SKIPPED]}, monkeypatch, capsys)
    assert (code, said) == (2, "not checked: torch\nchecked: 1\n")
    code, said = audit({("pypi", True): [KNOWN], ("pypi", False): [KNOWN, SKIPPED]}, monkeypatch, capsys)
    assert code == 1
    assert said.startswith("jinja2 2.4.1: CVE-2014-1402, fixed in 2.7.2\nnot checked: torch\n")


def test_a_build_is_checked_by_its_release(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.9.0+cpu")
    checked = SKIPPED | {"version": "2.9.0", "vulns": []}
    del checked["skip_reason"]
    answers = {("pypi", True): [KNOWN, checked], ("pypi", False): [CLEAN, SKIPPED]}
    _, said = audit(answers, monkeypatch, capsys)
    assert said.endswith("checked: 3\n")
    assert "not checked" not in said
