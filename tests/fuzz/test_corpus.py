"""The corpus through its readers: `good*` is accepted, `bad*` refused; no other error comes out."""

from pathlib import Path

import pytest

from tests.fuzz.targets import CORPUS, TARGETS, attempt, prepare

FILES = sorted(CORPUS.glob("*/*"))


def test_every_target_has_a_sound_file() -> None:
    assert {each.parent.name for each in FILES if each.name.startswith("good")} == set(TARGETS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
@pytest.mark.filterwarnings("ignore")
def test_each_file_is_accepted_or_refused_as_its_name_says(path: Path, tmp_path: Path) -> None:
    target = TARGETS[path.parent.name]

    verdict = attempt(target, prepare(tmp_path, target), path.read_bytes())

    if path.name.startswith("good"):
        assert verdict == "accepted"
    if path.name.startswith("bad"):
        assert verdict != "accepted"
