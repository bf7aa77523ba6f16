"""The commands and the Python of `docs/annotation-formats.md` run, in the order of the page."""

import re
import shlex
from pathlib import Path

import pytest

from tests.command_line import invoke

PAGE = Path(__file__).parents[2] / "docs" / "annotation-formats.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)


@pytest.fixture
def desk(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the folder of the page, with some images of blood cells as `my-voc`, and change to it."""
    lists = tmp_path / "my-voc" / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    for name in ("Annotations", "JPEGImages"):
        (tmp_path / "my-voc" / name).symlink_to(data / "bccd" / name)
    for split, count in (("train", 20), ("val", 5), ("test", 5)):
        listed = (data / "bccd" / "ImageSets" / "Main" / f"{split}.txt").read_text().split()
        (lists / f"{split}.txt").write_text("\n".join(listed[:count]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_print_what_the_page_shows(desk: Path) -> None:
    (desk / "set.yaml").write_text(blocks("yaml")[0])
    said = ""
    for line in re.findall(r"^\$ lookonce (.+)$", "\n".join(blocks("console")), re.M):
        found = invoke(*shlex.split(line))
        assert found.exit_code == 0, line
        said += found.output
    for line in blocks("console")[0].splitlines():
        assert line in said or line.startswith(("$", "..."))


def test_the_python_example_runs(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(blocks("python")[0], {})
    assert "BloodImage_00001.jpg (480, 640) ['WBC'" in capsys.readouterr().out
