"""The printed command that installs a missing optional package works."""

import json
import shlex
from pathlib import Path

import pytest

from lookonce._optional import install_line, require
from lookonce.errors import MissingExtraError


class Installed:
    """A distribution whose origin is in `direct_url.json`; None for an index."""

    def __init__(self, origin: object) -> None:
        self._origin = origin

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return None if self._origin is None else json.dumps(self._origin)


def line(monkeypatch: pytest.MonkeyPatch, origin: object) -> str:
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: Installed(origin))
    return install_line("train")


def test_from_an_index_the_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    assert line(monkeypatch, None) == "pip install 'lookonce[train]'"


@pytest.mark.parametrize("name", ["lookonce-0.1.0-py3-none-any.whl", "my checkout's"])
def test_from_a_wheel_or_folder_the_line_has_its_path(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path := tmp_path / name).touch()
    origin = {"url": path.as_uri(), "archive_info": {}}
    assert shlex.split(line(monkeypatch, origin)) == ["pip", "install", f"{path}[train]"]
    path.unlink()
    assert line(monkeypatch, origin) == "pip install 'lookonce[train]'", "the wheel is gone"


def test_from_an_editable_checkout_the_line_is_editable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = {"url": tmp_path.as_uri(), "dir_info": {"editable": True}}
    assert shlex.split(line(monkeypatch, origin)) == ["pip", "install", "-e", f"{tmp_path}[train]"]


def test_from_a_repository_the_line_has_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    origin = {"url": "https://example.org/lookonce.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}
    assert line(monkeypatch, origin) == (
        "pip install 'lookonce[train] @ git+https://example.org/lookonce.git@abc'"
    )


def test_a_missing_package_names_the_line_to_type() -> None:
    with pytest.raises(MissingExtraError, match="needs the package 'not_there': pip install "):
        require("not_there.below", "train")
