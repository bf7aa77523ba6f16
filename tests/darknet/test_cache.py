import logging
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

from lookonce.darknet.cache import cached_onnx
from lookonce.errors import ModelFileError
from lookonce.metadata import METADATA_KEY, ModelInfo
from lookonce.runtime.detector import Detector

NAME = "MobileNetV2-YOLOv3-Nano-coco"


@pytest.fixture
def cfg(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "cache"))
    for suffix in (".cfg", ".weights"):
        shutil.copyfile(data / "darknet" / f"{NAME}{suffix}", tmp_path / f"model{suffix}")
    return tmp_path / "model.cfg"


def test_the_onnx_file_is_built_once(cfg: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        made = cached_onnx(cfg)
        made_once = made.stat().st_ino
        assert cached_onnx(cfg) == made

    assert made.parent == cfg.parent / "cache" / "darknet"
    assert made.stat().st_ino == made_once
    fit, ignored, names = (record.message for record in caplog.records)  # once, not on every start
    assert "belongs to AlexeyAB's Darknet" in fit
    assert "not used here: [net] batch, subdivisions, momentum" in ignored
    assert "[yolo] jitter" in ignored
    assert names.endswith("no class names found, classes are numbered: expected model.names beside it")


def test_the_onnx_file_describes_the_model(cfg: Path, data: Path) -> None:
    shutil.copyfile(data / "darknet" / "coco.names", cfg.with_suffix(".names"))

    model = onnx.load(cached_onnx(cfg))

    onnx.checker.check_model(model, full_check=True)
    described = {entry.key: entry.value for entry in model.metadata_props}
    info = ModelInfo.from_json(described[METADATA_KEY], "x")
    assert (info.architecture, info.input_size, info.strides) == ("darknet", (320, 320), (16, 32))
    assert info.anchors[0] == ((12, 18), (37, 49), (52, 132))
    assert info.names[16] == "dog"
    assert info.bn_epsilon == 1e-6


@pytest.mark.parametrize("changed", ["model.cfg", "model.weights", "model.names"])
def test_a_change_of_any_file_rebuilds_it(cfg: Path, changed: str) -> None:
    before = cached_onnx(cfg)

    if changed == "model.names":
        (cfg.parent / changed).write_text("\n".join(f"name {number}" for number in range(80)))
    elif changed == "model.cfg":
        cfg.write_text(cfg.read_text() + "\n# a comment\n")
    else:
        content = bytearray((cfg.parent / changed).read_bytes())
        content[-4:] = np.float32(0.25).tobytes()
        (cfg.parent / changed).write_bytes(content)

    assert cached_onnx(cfg) != before


def test_files_unused_for_a_month_are_deleted(cfg: Path) -> None:
    day = 24 * 3600
    first, other = cached_onnx(cfg), cfg.parent / "cache" / "darknet" / f"other-{'0123' * 6}.onnx"
    killed = other.with_name(".lookonce-model-0123-half.onnx")
    of_a_project = other.with_name("network.onnx")  # LOOKONCE_CACHE may be the folder of a project
    for file in (other, killed, of_a_project):
        file.touch()
    for file in (first, other, killed, of_a_project):
        os.utime(file, (0, time.time() - 31 * day))
    cached_onnx(cfg)  # a use
    assert other.exists(), "nothing new was made"

    cfg.write_text(cfg.read_text() + "\n# a comment\n")
    second = cached_onnx(cfg)

    assert set(second.parent.iterdir()) == {first, second, of_a_project}


def test_parallel_builds_leave_one_file(cfg: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(cached_onnx, [cfg] * 8))

    assert list((cfg.parent / "cache" / "darknet").iterdir()) == list(made)


def test_missing_weights_list_the_files_that_exist(cfg: Path) -> None:
    cfg.with_suffix(".weights").rename(cfg.with_name("other.weights"))

    with pytest.raises(ModelFileError, match=r"^weights: .* it has no model\.weights; found other\.weights"):
        Detector.open(cfg)


def test_damaged_weights_are_refused(cfg: Path) -> None:
    content = cfg.with_suffix(".weights").read_bytes()
    cfg.with_suffix(".weights").write_bytes(content[:-8] + np.float32([1, np.nan]).tobytes())

    with pytest.raises(ModelFileError, match="infinite, not a number"):
        cached_onnx(cfg)
    assert not (cfg.parent / "cache").exists()


def test_a_network_without_yolo_is_refused(cfg: Path) -> None:
    cfg.write_text("[net]\nwidth=32\nheight=32\n[convolutional]\nfilters=2\n")

    with pytest.raises(ModelFileError, match=r"expected a detector, found no \[yolo\]"):
        cached_onnx(cfg)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_that_cannot_be_written_names_the_variable_to_set(cfg: Path) -> None:
    (cfg.parent / "cache").mkdir(mode=0o500)

    with pytest.raises(ModelFileError, match="set LOOKONCE_CACHE"):
        cached_onnx(cfg)


def test_a_cache_that_is_a_file_names_the_variable_to_set(cfg: Path) -> None:
    (cfg.parent / "cache").write_text("")

    with pytest.raises(ModelFileError, match=r"cannot be written .* set LOOKONCE_CACHE"):
        cached_onnx(cfg)
