"""Comparison of two models on the same images."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lookonce import gate
from lookonce.gate import Times, detect_both, detect_samples, own_values, time_both
from lookonce.runtime.detector import Detector
from lookonce.samples import Sample
from tests.tiny_onnx import INFO, write_tiny_model

TWELVE_BITS, SIXTEEN_BITS = (0.0, 4095.0), (0.0, 65535.0)


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    """Write a 16-bit image with a cell at the largest 12-bit value, which is an object only in that range."""
    image = np.zeros((64, 96), np.uint16)
    image[:32, :32] = 4095
    cv2.imwrite(str(tmp_path / "deep.png"), image)
    return Sample(tmp_path / "deep.png", np.zeros((0, 4), np.float32), np.zeros(0, np.int64))


def model(path: Path, values: tuple[float, float]) -> Detector:
    return Detector.open(write_tiny_model(path, replace(INFO, values=values)))


@pytest.mark.parametrize("ranges", [(TWELVE_BITS, SIXTEEN_BITS), (SIXTEEN_BITS, TWELVE_BITS)])
def test_each_model_reads_deep_images_in_its_own_range(
    sample: Sample, tmp_path: Path, ranges: tuple[tuple[float, float], tuple[float, float]]
) -> None:
    first, second = (model(tmp_path / f"{number}.onnx", each) for number, each in enumerate(ranges))
    looked: list[int] = []

    both = detect_both(first, second, [sample], done=lambda: looked.append(1))

    expected = [int(each == TWELVE_BITS) for each in ranges]
    assert [len(each) for each in both.found[0]] == expected
    assert looked == [1]
    assert len(detect_samples(first, [sample], own_values(first, [sample])).found[0]) == expected[0]


def test_an_unreadable_image_is_skipped(sample: Sample, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    bad = replace(sample, path=tmp_path / "bad.png")

    found = detect_samples(model(tmp_path / "m.onnx", TWELVE_BITS), [bad, sample], TWELVE_BITS)

    assert found.samples == [sample]
    assert [problem.place for problem in found.unreadable] == [str(bad.path)]


def test_a_session_with_other_speeds_does_not_decide_the_times_of_two_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = iter([[30.0, 3.0], [20.0, 5.0], [20.0, 4.0], [10.0, 9.0], [20.0, 6.0]])
    monkeypatch.setattr(gate, "time_in_turn", lambda *_, **__: next(sessions))
    both = time_both(tmp_path / "before.onnx", tmp_path / "after.onnx", np.zeros((1, 64, 96, 3), np.uint8))
    assert both == Times(20.0, 5.0)
    assert next(sessions, None) is None
