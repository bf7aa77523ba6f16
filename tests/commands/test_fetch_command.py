"""`lookonce fetch` as a user types it, from a mirror on this machine."""

import hashlib
import json
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lookonce.cli import app, main
from lookonce.darknet.cfg import parse_cfg
from lookonce.darknet.classic import classic_cfg
from lookonce.darknet.download import RemoteFile
from lookonce.darknet.fetch import REGISTRY, Published
from lookonce.darknet.resolve import resolve
from lookonce.darknet.weights import write_weights
from lookonce.images import write_image
from tests.darknet.oracle import random_weights
from tests.file_server import serving, sound


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a mirror of the publisher: a folder with a yolov3-tiny of an eighth of the width."""
    folder = tmp_path / "my mirror"
    info = REGISTRY["yolov3-tiny"].info
    assert info is not None
    info = replace(info, width=0.125)
    weights = folder / "yolov3-tiny.weights"
    network = resolve(parse_cfg(classic_cfg(info), "mirror"))
    write_weights(weights, random_weights(network))
    content = weights.read_bytes()
    file = RemoteFile(weights.name, len(content), hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(REGISTRY, "yolov3-tiny", Published(file, info))
    monkeypatch.setenv("LOOKONCE_MIRROR", folder.as_uri())
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "my cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return folder


def test_the_printed_command_detects_with_the_fetched_model(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "image.jpg", np.full((60, 80, 3), 90, np.uint8))

    ran = CliRunner().invoke(app, ["fetch", "yolov3-tiny"], catch_exceptions=False)

    assert ran.exit_code == 0
    first, second = ran.stdout.splitlines()
    weights = tmp_path / "my cache" / "models" / "yolov3-tiny.weights"
    assert first.startswith(f"{weights} (")
    assert first.endswith("size and SHA-256 as published)")
    program, *words = shlex.split(second.removeprefix("next: "))
    assert program == "lookonce"
    assert words == ["detect", str(weights.with_suffix(".cfg")), "image.jpg"]
    detected = CliRunner().invoke(app, [*words, "--size", "64", "--conf", "0.001"], catch_exceptions=False)
    assert detected.exit_code == 0, detected.output
    assert json.loads((tmp_path / "detections" / "detections.json").read_text())["names"][1] == "bicycle"


def test_a_filled_cache_needs_no_network_and_is_not_written(mirror: Path, tmp_path: Path) -> None:
    CliRunner().invoke(app, ["fetch", "yolov3-tiny"], catch_exceptions=False)
    for file in mirror.iterdir():
        file.unlink()
    models = tmp_path / "my cache" / "models"
    before = {path.name: path.stat().st_mtime_ns for path in models.iterdir()}

    ran = CliRunner().invoke(app, ["fetch", "yolov3-tiny", "--json", "-"], catch_exceptions=False)

    assert ran.exit_code == 0
    assert {path.name: path.stat().st_mtime_ns for path in models.iterdir()} == before
    assert json.loads(ran.stdout) == {
        "weights": str(models / "yolov3-tiny.weights"),
        "cfg": str(models / "yolov3-tiny.cfg"),
        "names": str(models / "yolov3-tiny.names"),
    }


def test_a_backbone_is_for_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path))
    monkeypatch.setitem(REGISTRY, "darknet53", Published(RemoteFile("darknet53.conv.74", 7), None))
    with serving() as server:
        server.answers["/darknet53.conv.74"] = sound(b"weights")
        monkeypatch.setenv("LOOKONCE_MIRROR", server.url)
        ran = CliRunner().invoke(app, ["fetch", "darknet53"], catch_exceptions=False)

    assert ran.exit_code == 0
    said = ran.stdout.splitlines()
    assert (
        said[0] == f"{tmp_path}/models/darknet53.conv.74 (7 bytes; size as published, no SHA-256 available)"
    )
    assert said[1] == (
        f"next: lookonce train DATA --model yolov3 --weights {tmp_path}/models/darknet53.conv.74"
    )


def test_wrong_input_is_one_line_and_exit_code_2(
    mirror: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (mirror / "yolov3-tiny.weights").write_bytes(b"<html></html>")
    for name, complaint in [("yolov4", "expected one of yolov3, "), ("yolov3-tiny", "cannot be fetched")]:
        monkeypatch.setattr(sys, "argv", ["lookonce", "fetch", name])
        with pytest.raises(SystemExit) as stopped:
            main()
        said = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
        assert stopped.value.code == 2
        assert len(said) == 1
        assert complaint in said[0]


def test_ctrl_c_says_that_received_bytes_are_kept(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lookonce.commands.fetch.library.fetch", stopped)
    ran = CliRunner().invoke(app, ["fetch", "yolov3-tiny"])
    assert ran.exit_code == 130
    assert "the bytes received so far are kept" in ran.stderr
