"""Which backend opens which file, in an environment that lacks what one of them needs."""

import sys
from pathlib import Path

import pytest

from lookonce.errors import MissingExtraError, ModelFileError
from lookonce.runtime.backends import open_backend
from tests.tiny_onnx import write_tiny_model


def test_without_torch_its_files_say_what_to_install_and_others_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "model.safetensors").touch()

    with pytest.raises(MissingExtraError, match=r"'torch'.*pip install 'lookonce\[train\]'"):
        open_backend(tmp_path / "model.safetensors")

    open_backend(write_tiny_model(tmp_path / "model.onnx")).close()


def test_an_unknown_suffix_lists_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "model.pt").touch()

    with pytest.raises(ModelFileError, match=r"model\.pt: .*\.safetensors, \.onnx, \.cfg.*'\.pt'"):
        open_backend(tmp_path / "model.pt")
