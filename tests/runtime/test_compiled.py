"""Compiled networks in the cache are used only if they are intact, the user's, and made from this model."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from lookonce._optional import require
from lookonce.runtime.compiled import (
    CHECKSUM,
    MOST_FILES,
    compiled_file,
    model_content,
    read_compiled,
    write_compiled,
)
from lookonce.runtime.openvino_backend import OpenVinoBackend
from tests.tiny_onnx import INFO, write_tiny_model

require("openvino", "openvino")
pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="nothing is kept on Windows")

IMAGES = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), np.uint8)
RUN = """
import hashlib, sys, numpy as np
from pathlib import Path
from lookonce.runtime.openvino_backend import OpenVinoBackend
images = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), np.uint8)
print(hashlib.sha256(OpenVinoBackend(Path(sys.argv[1]))(images).tobytes()).hexdigest())
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "compiled"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny.onnx")


def run(model: Path, **options: int) -> np.ndarray:
    return OpenVinoBackend(model, **options)(IMAGES)


def test_the_compiled_network_is_cached_and_used(folder: Path, model: Path) -> None:
    compiled = run(model)
    (kept,) = folder.iterdir()
    intact = kept.read_bytes()
    assert folder.stat().st_mode & 0o777 == 0o700
    np.testing.assert_array_equal(run(model), compiled)
    assert list(folder.iterdir()) == [kept]

    halved = model.with_name("halved.onnx")
    halved.write_bytes(model.read_bytes().replace(np.float32(255).tobytes(), np.float32(510).tobytes()))
    other = run(halved)
    assert not np.array_equal(other, compiled)
    (name,) = {file.name for file in folder.iterdir()} - {kept.name}
    swapped = (folder / name).read_bytes()
    kept.write_bytes(swapped)
    np.testing.assert_array_equal(run(model), other)  # so the cached network runs
    kept.write_bytes(intact[:CHECKSUM] + swapped[CHECKSUM:])
    np.testing.assert_array_equal(run(model), compiled)
    assert read_compiled(kept) is not None  # made again


def damage_middle(kept: Path) -> None:
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 1
    kept.write_bytes(content)


def empty(kept: Path) -> None:
    kept.write_bytes(b"")


def cut(kept: Path) -> None:
    kept.write_bytes(kept.read_bytes()[:-100])


def no_network(kept: Path) -> None:
    kept.write_bytes(sha256(b"nothing").digest() + b"nothing")


def of_another_version(kept: Path) -> None:
    blob = kept.read_bytes()[32:].replace(b"ov=20", b"ov=19", 1)
    kept.write_bytes(sha256(blob).digest() + blob)


def pipe(kept: Path) -> None:
    kept.unlink()
    os.mkfifo(kept)


def subfolder(kept: Path) -> None:
    kept.unlink()
    kept.mkdir()


@pytest.mark.parametrize(
    "damage", [damage_middle, empty, cut, no_network, of_another_version, pipe, subfolder]
)
def test_a_damaged_file_is_not_used(folder: Path, model: Path, damage: Callable[[Path], None]) -> None:
    expected = run(model)
    (kept,) = folder.iterdir()
    damage(kept)
    damaged = kept.read_bytes() if kept.is_file() else b""

    np.testing.assert_array_equal(run(model), expected)
    assert kept.is_dir() or (read_compiled(kept) and kept.read_bytes() != damaged)  # made again


def test_each_content_shape_and_setting_has_its_own_file(folder: Path, tmp_path: Path, model: Path) -> None:
    run(model)
    run(model, threads=1)
    OpenVinoBackend(model)(IMAGES[:, :32])
    backend = OpenVinoBackend(model)
    backend(np.concatenate([IMAGES, IMAGES]))
    write_tiny_model(model, replace(INFO, names=("a", "b")))  # the same path with another description
    run(model)

    assert len(list(folder.iterdir())) == 5


def test_a_model_that_changes_after_it_was_read_is_not_cached(folder: Path, model: Path) -> None:
    backend = OpenVinoBackend(model)
    write_tiny_model(model, replace(INFO, names=("a", "b")))
    backend(IMAGES)

    assert list(folder.glob("*")) == []


def test_a_large_model_is_not_cached(folder: Path, model: Path) -> None:
    assert model_content(model) is not None
    with model.open("ab") as file:
        file.truncate(17 << 20)
    assert model_content(model) is None
    assert model_content(model.with_name("missing.onnx")) is None


def open_to_others(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o770)


def link(folder: Path) -> None:
    folder.parent.mkdir()
    (folder.parent / "other").mkdir()
    folder.symlink_to("other")


def file_in_its_place(folder: Path) -> None:
    folder.parent.write_text("a file")


@pytest.mark.parametrize("make", [open_to_others, link, file_in_its_place])
def test_an_unsafe_cache_folder_is_not_used(folder: Path, model: Path, make: Callable[[Path], None]) -> None:
    make(folder)
    assert compiled_file() is None
    candidates = run(model)

    assert candidates.shape == (1, 6, 7)
    assert [each for each in folder.glob("**/*") if each.is_file()] == []


@pytest.mark.skipif(not hasattr(os, "chown") or os.geteuid() != 0, reason="only root gives files away")
def test_a_cache_folder_of_another_user_is_not_used(folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o700)
    assert compiled_file() is not None
    os.chown(folder, 12345, 12345)
    assert compiled_file() is None


def test_models_run_without_a_home_folder(model: Path) -> None:
    unset = ("HOME", "LOOKONCE_CACHE", "XDG_CACHE_HOME")
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    for home in ({"HOME": "/dev/null"}, {"HOME": "/proc"}):
        done = subprocess.run(
            [sys.executable, "-c", RUN, str(model)],
            env=environment | home, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")


def test_the_most_recently_used_files_are_kept(folder: Path) -> None:
    paths = [path for number in range(MOST_FILES + 3) if (path := compiled_file(number))]
    for moment, path in enumerate(paths[:MOST_FILES]):
        write_compiled(path, b"network")
        os.utime(path, (moment, moment))
    (folder / ".lookonce-unfinished.blob").write_bytes(b"of a killed process")
    own_of_a_project = folder / "network.blob"  # LOOKONCE_CACHE may be the folder of a project
    own_of_a_project.touch()
    for path in (folder / ".lookonce-unfinished.blob", own_of_a_project):
        os.utime(path, (0, 0))
    assert read_compiled(paths[0]) == b"network"

    for path in paths[MOST_FILES:]:
        write_compiled(path, b"network")

    assert {*folder.iterdir()} == {paths[0], *paths[4:], own_of_a_project}


def test_two_processes_share_the_cache(folder: Path, model: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", RUN, str(model)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    printed = [process.communicate()[0].strip() for process in processes]

    assert printed == [sha256(run(model).tobytes()).hexdigest()] * 2
    assert len(list(folder.iterdir())) == 1
