"""`docs/export.md`: the snippets for other programs give the detections of the Detector."""

import re
from pathlib import Path

import numpy as np
import pytest

from lookonce import Detector
from tests.command_line import invoke

PAGE = Path(__file__).parents[2] / "docs" / "export.md"
FORMS = ["--nms", "--out", "alone.onnx"], ["--layout", "nchw", "--out", "planes.onnx"]  # in page order


@pytest.mark.parametrize("number", [0, 1], ids=["ONNX Runtime", "OpenCV"])
@pytest.mark.parametrize("fit", ["letterbox", "stretch"])
@pytest.mark.parametrize(
    ("size", "photo"), [("320", "dog.jpg"), ("256x416", "dog.jpg"), ("320", "person.jpg")]
)
def test_the_snippet_gives_the_detectors_boxes(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
    fit: str,
    size: str,
    photo: str,
) -> None:
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/dog.jpg").symlink_to(data / "photos" / photo)
    words = ["export", "coco", "--to", "onnx", "--size", size, "--fit", fit, *FORMS[number]]
    assert invoke(*words).exit_code == 0
    snippet = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)[number]
    height, _, width = size.partition("x")
    snippet = snippet.replace('320, 320, "letterbox"', f'{height}, {width or height}, "{fit}"')
    capsys.readouterr()
    exec(snippet, {})
    with Detector.open("coco", size=(int(height), int(width or height)), fit=fit) as detector:  # type: ignore[arg-type]
        expected = detector(data / "photos" / photo)
    lines = [re.fullmatch(r"(.+) (\d\.\d\d) \[(.+)\]", line) for line in capsys.readouterr().out.splitlines()]
    assert all(lines)
    found = [(line[1], float(line[2]), [float(x) for x in line[3].split()]) for line in lines if line]
    names = [name for name, _, _ in expected] if number == 0 else list(map(str, expected.labels))
    assert [name for name, _, _ in found] == names
    np.testing.assert_allclose([score for _, score, _ in found], expected.scores, atol=0.006)
    np.testing.assert_allclose([box for _, _, box in found], expected.boxes, atol=0.06)
