"""ARCHITECTURE.md names only things that exist, and its diffs match the code."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
SOURCE = ROOT / "src" / "lookonce"


def test_added_lines_of_the_diffs_are_in_their_files() -> None:
    file, checked = Path(), 0
    for line in "\n".join(re.findall(r"```diff\n(.*?)```", PAGE, re.DOTALL)).splitlines():
        if named := re.match(r"(?:---|\+\+\+) [ab]/(.+)", line):
            file = ROOT / named[1]
        elif line.startswith("+"):
            assert line[1:] in file.read_text(encoding="utf-8").splitlines(), f"{file.name}: {line}"
            checked += 1
    assert checked > 15


def test_every_named_file_and_package_exists() -> None:
    named = re.findall(r"`([a-z_]+/(?:[a-z_0-9]+\.py)?|[a-z_]+\.py|tests/[\w/.]+)`", PAGE)
    places = [
        (ROOT / each if each.startswith(("tests", "docs", "benchmarks")) else SOURCE / each) for each in named
    ]
    bare = {"collect.py": SOURCE / "annotations"}  # named again inside its section
    missing = [
        each
        for each in places
        if not each.exists() and not (bare.get(each.name, SOURCE) / each.name).exists()
    ]
    assert len(places) > 40
    assert missing == []


def test_every_package_is_on_the_map() -> None:
    packages = {each.name for each in SOURCE.iterdir() if (each / "__init__.py").is_file()}
    assert {each for each in packages if f"`{each}/`" not in PAGE} == set()


def test_each_path_has_the_stated_length() -> None:
    for heading in ("The path of an image", "The path of a box"):
        section = PAGE.partition(f"## {heading}\n")[2].partition("\nThe network (")[0].partition("\n## ")[0]
        files = set(re.findall(r"`([a-z_]+/[a-z_0-9]+\.py|[a-z_]+\.py)`", section))
        counted, lines = re.findall(r"this path is (\d+) files of ([\d,]+) lines", section)[0]
        assert int(counted) == len(files), sorted(files)
        length = sum((SOURCE / each).read_text(encoding="utf-8").count("\n") for each in files)
        assert abs(length - int(lines.replace(",", ""))) < 0.1 * length, f"{heading}: {length} lines"
