"""The files around the code are valid under their schemas, and consistent with the package."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import lookonce

ROOT = Path(__file__).resolve().parents[1]
SCHEMAS = {
    "github-workflows": ROOT.glob(".github/workflows/*.yml"),
    "dependabot": ROOT.glob(".github/dependabot.yml"),
    "github-issue-forms": (
        each for each in ROOT.glob(".github/ISSUE_TEMPLATE/*.yml") if each.stem != "config"
    ),
    "github-issue-config": ROOT.glob(".github/ISSUE_TEMPLATE/config.yml"),
    "citation-file-format": ROOT.glob("CITATION.cff"),
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize(("schema", "files"), SCHEMAS.items(), ids=SCHEMAS)
def test_configuration_files_match_their_schema(schema: str, files: list[Path]) -> None:
    pytest.importorskip("check_jsonschema", reason="needs check-jsonschema, which the extra `dev` brings")
    paths = list(map(str, files))
    assert paths
    tool = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    done = subprocess.run([*tool, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == lookonce.__version__ == version("lookonce")
    assert citation["license"] == PROJECT["license"]


def test_ci_runs_every_supported_python_on_every_system() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]
    matrix = jobs["test"]["strategy"]["matrix"]
    assert [each.split("-")[0] for each in matrix["os"]] == ["ubuntu", "macos", "windows"]
    listed = [each.rsplit(" ", 1)[1] for each in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", each)]
    assert matrix["python"] == listed
    assert PROJECT["requires-python"] == f">={listed[0]}"


def test_every_make_target_is_explained_to_contributors() -> None:
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [each for each in targets if f"`make {each}" not in text] == []


def test_every_tool_of_ci_is_locked_to_a_hash() -> None:
    text = (ROOT / ".github/requirements.txt").read_text(encoding="utf-8")
    locked = dict(re.findall(r"^([a-z0-9][a-z0-9-]*)(?:\[.*?\])?==(\S+)", text, re.MULTILINE))
    assert text.count("--hash=sha256:") >= len(locked)
    extras = PROJECT["optional-dependencies"]
    listed = PROJECT["dependencies"] + extras["evaluate"] + extras["train"] + extras["dev"]
    wanted = [Requirement(each) for each in listed]
    for each in wanted:
        if each.name not in ("lookonce", "torch"):  # torch: the build depends on the machine
            assert each.specifier.contains(locked[canonicalize_name(each.name)]), each
