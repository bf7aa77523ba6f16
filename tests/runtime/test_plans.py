"""Plans of `lookonce tune` are used only on the machine on which they were measured."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from shutil import copy

import pytest

from lookonce.errors import ConfigError
from lookonce.runtime import backends, plans
from lookonce.runtime.cpu import Cpu, this_cpu
from lookonce.runtime.detector import Detector
from lookonce.runtime.onnx_backend import OnnxBackend
from lookonce.runtime.openvino_backend import OpenVinoBackend
from lookonce.runtime.plans import PLAN, SpeedPlan, Way, engine_versions, plan_folder
from tests.tiny_onnx import write_tiny_model

HERE = Cpu("here", ("avx2",), 2)
WAYS = (
    Way("onnxruntime", "float32", 2, 1, "", 20.0, 0.5, 1.0),
    Way("onnxruntime", "float32", 1, 2, "", 18.0, 0.5, 1.0),
    Way("openvino", "float32", 2, 1, "", 10.0, 0.5, 1.0),
    Way("openvino", "float32", 1, 2, "", 30.0, 0.5, 1.0),
    Way("openvino", "int8", 1, 1, "int8.xml", 1.0, 0.1, 0.2, rejected="AP 0.1, not 0.5"),
    Way("openvino", "bfloat16", 1, 1, "", None, 0.5, 1.0, rejected="failed"),
)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(plans, "this_cpu", lambda: HERE)
    plans._warn.cache_clear()
    return write_tiny_model(tmp_path / "tiny.onnx")


def written(model: Path, *ways: Way) -> SpeedPlan:
    plan = SpeedPlan(HERE, engine_versions(), "data", 0.003, ways or WAYS, plan_folder(model))
    plan.write()
    return plan


def test_a_written_plan_reads_back(model: Path) -> None:
    plan = written(model)

    assert SpeedPlan.read(plan.folder) == plan
    tree = json.loads((plan.folder / PLAN).read_text())
    assert (tree["latency"]["backend"], tree["latency"]["milliseconds"]) == ("openvino", 10)
    assert (tree["throughput"]["backend"], tree["throughput"]["calls"]) == ("onnxruntime", 2)


def test_latency_and_throughput_rows_are_not_compared(model: Path) -> None:
    alone = Way("ncnn", "float32", 2, 1, "", 40.0, 0.5, 1.0)
    four = replace(written(model, *WAYS, alone), cpu=Cpu("here", ("avx2",), 4))
    assert four.best(1) == WAYS[1]
    assert (
        four.best(2) == WAYS[2]
    )  # with several images at a time, there is only the row of 18 ms, with one thread
    assert replace(four, ways=(WAYS[1], alone)).best(2) == alone


def test_the_detector_follows_the_plan_and_says_so(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    written(model)

    for _ in range(2):
        with Detector.open(model) as detector:
            assert isinstance(detector._backend, OpenVinoBackend)

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "tiny.onnx: runs as tuned for this machine: openvino, float32, 2 threads, AP 0.5" in record.message


@pytest.mark.parametrize(
    ("options", "engine"),
    [
        ({"threads": 1}, OnnxBackend),  # many images, one per core
        ({"threads": 2}, OpenVinoBackend),
        ({"precision": "float32"}, OnnxBackend),
        ({"backend": "onnxruntime"}, OnnxBackend),
    ],
)
def test_explicit_options_override_the_plan(model: Path, options: dict[str, object], engine: type) -> None:
    written(model)
    with Detector.open(model, **options) as detector:
        assert isinstance(detector._backend, engine)


def test_the_plan_uses_no_more_threads_than_requested(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of four cores: no row was timed with two, and the fastest row uses all four."""
    monkeypatch.setattr(plans, "this_cpu", lambda: replace(HERE, cores=4))
    ways = [Way("onnxruntime", "float32", 4, 1, "", 20.0, 0.5, 1.0)]
    SpeedPlan(replace(HERE, cores=4), engine_versions(), "", 0.003, tuple(ways), plan_folder(model)).write()
    asked: list[int | None] = []
    monkeypatch.setattr(
        backends, "load_engine", lambda path, name, threads, *_: asked.append(threads) or OnnxBackend(path)
    )

    for threads in (2, 4, None):
        Detector.open(model, threads=threads).close()

    assert asked == [2, 4, 4]


def test_a_plan_applies_to_copies_of_the_model_only(model: Path, tmp_path: Path) -> None:
    written(model)
    copied, other = tmp_path / "copied.onnx", tmp_path / "other.onnx"
    copy(model, copied)
    content = bytearray(model.read_bytes())
    content[content.index(b"float")] = ord("F")  # the same size
    other.write_bytes(content.replace(b"Float", b"Float").replace(b"float", b"Float"))

    assert isinstance(Detector.open(copied)._backend, OpenVinoBackend)
    assert isinstance(Detector.open(other)._backend, OnnxBackend)


def test_another_cpu_falls_back_and_says_so(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    written(model)
    monkeypatch.setattr(plans, "this_cpu", lambda: replace(HERE, name="there"))

    assert isinstance(Detector.open(model)._backend, OnnxBackend)
    assert "tuned on a different CPU" in caplog.text
    assert "found there, 2 cores, avx2" in caplog.text


def test_another_version_falls_back_and_says_so(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    plan = written(model)
    replace(plan, versions={**plan.versions, "openvino": "1999.1"}).write()

    assert isinstance(Detector.open(model)._backend, OnnxBackend)
    assert "tuned with other versions, so not used: openvino 1999.1, here " in caplog.text


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"format": 2}',
        '{"format": 1, "cpu": {"name": "a", "instructions": null, "cores": 1}, "ways": [{}]}',
    ],
)
def test_a_damaged_plan_falls_back_and_says_so(
    model: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    (written(model).folder / PLAN).write_text(content)

    assert isinstance(Detector.open(model)._backend, OnnxBackend)
    assert "expected a plan that `lookonce tune` wrote" in caplog.text


def test_a_plan_reads_nothing_outside_its_folder(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    written(model, Way("openvino", "float32", 2, 1, "../../../../other.onnx", 1.0, 0.5, 1.0))

    assert isinstance(Detector.open(model)._backend, OnnxBackend)
    assert "a file outside its folder" in caplog.text


@pytest.mark.parametrize("files", ["..", "../1", "/tmp", 7, ["1"]])
def test_a_plan_with_a_foreign_file_folder_is_refused(
    model: Path, caplog: pytest.LogCaptureFixture, files: object
) -> None:
    path = written(model).folder / PLAN
    path.write_text(json.dumps(json.loads(path.read_text()) | {"files": files}))

    assert isinstance(Detector.open(model)._backend, OnnxBackend)
    assert "expected a plan that `lookonce tune` wrote" in caplog.text


def test_a_plan_whose_file_is_gone_falls_back(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    written(model, Way("openvino", "int8", 2, 1, "int8.xml", 1.0, 0.5, 1.0))

    assert isinstance(Detector.open(model)._backend, OnnxBackend)
    assert "int8.xml is missing" in caplog.text


def test_int8_by_request_is_the_fastest_accepted_one(model: Path) -> None:
    written(model)
    with pytest.raises(ConfigError, match="precision: expected a model in int8"):
        Detector.open(model, precision="int8")  # the only row of the plan was rejected

    plan = written(model, *WAYS, Way("openvino", "int8", 2, 1, "small.onnx", 25.0, 0.5, 1.0))
    write_tiny_model(plan.folder / "small.onnx")
    with pytest.raises(ConfigError, match=r"found .*small\.onnx in float"):  # the tiny model is not int8
        Detector.open(model, precision="int8")


def test_without_any_plan_no_model_is_hashed(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("hashed")

    monkeypatch.setattr("hashlib.file_digest", refuse)
    Detector.open(model).close()


def test_this_machine_is_described() -> None:
    assert this_cpu().cores >= 1
    assert this_cpu().name
