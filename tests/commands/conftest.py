"""Fixtures for the tests of commands."""

from pathlib import Path

import pytest

from tests.tiny_onnx import write_tiny_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a network of 32-pixel cells; see `tests.tiny_onnx`."""
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx")
