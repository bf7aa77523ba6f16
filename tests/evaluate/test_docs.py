"""Test that the page on evaluation describes what is measured, and that its example runs."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from lookonce.evaluate.coco import Metrics
from lookonce.evaluate.report import evaluate_detections

PAGE = Path(__file__).parents[2] / "docs" / "evaluate.md"


def test_the_example_runs_and_prints_what_its_comments_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, str(PAGE), "exec"), {})
    ap50, threshold, counts = capsys.readouterr().out.splitlines()
    assert ap50 == "AP50 0.50"
    assert float(threshold) == pytest.approx(0.65)
    assert counts == "[[1, 0, 0], [0, 0, 1], [0, 0, 0]]"
    assert (tmp_path / "report" / "metrics.json").exists()


def test_every_number_in_the_json_is_explained() -> None:
    text = PAGE.read_text()
    written = evaluate_detections([], [], ["cat"]).to_dict()
    assert {field.name for field in fields(Metrics)} <= set(written)
    for name in written:
        assert f"`{name}`" in text, name


def test_linked_images_exist() -> None:
    linked = re.findall(r"\]\((images/[^)]+)\)", PAGE.read_text())
    assert len(linked) == 4
    assert all((PAGE.parent / name).exists() for name in linked)
