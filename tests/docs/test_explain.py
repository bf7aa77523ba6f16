"""`docs/explain.md`: its Python runs, and every field that it names is in the JSON."""

import re
from pathlib import Path

import numpy as np
import pytest

from lookonce.annotations import write_samples
from lookonce.explain import Explainer
from lookonce.images import write_image
from lookonce.samples import Sample, SampleSet
from tests.explain.models import write_model

TEXT = (Path(__file__).parents[2] / "docs" / "explain.md").read_text(encoding="utf-8")


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sample:
    """Write a model, an image and its annotation to the paths on the page."""
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path).rename("model.safetensors")
    image = tmp_path / "photos" / "dog.jpg"
    write_image(image, np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8))
    found = Sample(image, np.array([[10, 10, 60, 60]], np.float32), np.array([0]))
    write_samples({"all": SampleSet(("disc",), [found], [], "drawn")}, "coco", tmp_path / "annotations")
    return found


@pytest.mark.usefixtures("sample")
def test_the_python_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    blocks = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "explain.md", "exec"), names)
    said = capsys.readouterr().out
    assert Path("dog.html").stat().st_size > 10_000
    assert "predictions" in said
    assert "giou + conf + prob = " in said


def test_the_named_fields_are_in_the_json(sample: Sample) -> None:
    found = Explainer.open("model.safetensors")(sample.path, sample).to_dict()["truth"]
    last = TEXT.rpartition("`truth.scales` holds")[2]
    scales, _, positives = last.partition("each positive")
    assert set(re.findall(r"`(\w+)`", scales)) == set(found["scales"][0])
    named = re.findall(r"`(\w+)`", positives)
    assert len(named) == 4
    assert set(named) <= set(found["objects"][0]["positives"][0])
