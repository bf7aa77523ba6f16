"""`lookonce recipes`: by name and by file, as people and machines read it."""

import json
import subprocess
import sys
from pathlib import Path

from lookonce.config import flat
from lookonce.recipe import load_settings


def lookonce(*arguments: str, folder: Path) -> str:
    command = [sys.executable, "-m", "lookonce", "recipes", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_recipes_are_listed_with_what_differs(tmp_path: Path) -> None:
    said = lookonce(folder=tmp_path).splitlines()
    assert [line.split()[0] for line in said[::2]] == ["classic", "default"]
    assert "batch_norm.average_first=false" in said[1]
    assert "loss.objectness=one" in said[1]
    assert "without --recipe" in said[3]


def test_a_machine_reads_every_setting(tmp_path: Path) -> None:
    found = json.loads(lookonce("--json", "-", folder=tmp_path))
    assert found["classic"]["settings"] == flat(load_settings("classic"))
    assert Path(found["default"]["file"]).is_file()
