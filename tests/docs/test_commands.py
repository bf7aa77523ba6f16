"""The reference of the command line matches the commands."""

import pytest

from scripts.command_reference import PAGE, reference


def test_the_reference_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run python scripts/command_reference.py"


def test_a_changed_default_changes_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    from lookonce.commands import detect as module

    before = reference()
    defaults = list(module.detect.__defaults__ or ())
    defaults[defaults.index(0.45)] = 0.35
    monkeypatch.setattr(module.detect, "__defaults__", tuple(defaults))
    assert "| `--iou IOU` | IoU threshold of NMS. | `0.35` |" in reference()
    assert reference() != before
