"""Tuning: candidates, gate, timing, resuming, and the resulting plan."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lookonce.annotations import write_samples
from lookonce.bench import tune as tuning
from lookonce.bench.contenders import BenchCase
from lookonce.bench.measure import BenchEntry, Result
from lookonce.bench.tune import agreement
from lookonce.cli import app
from lookonce.darknet.cfg import parse_cfg
from lookonce.darknet.resolve import resolve
from lookonce.detections import Detections
from lookonce.errors import ModelFileError
from lookonce.export.files import write_onnx
from lookonce.export.graph import export_graph
from lookonce.export.source import read_source
from lookonce.runtime.backends import engine_file
from lookonce.runtime.cpu import Cpu
from lookonce.runtime.detector import Detector
from lookonce.runtime.openvino_backend import OpenVinoBackend
from lookonce.runtime.plans import PLAN, SpeedPlan, Way, find_plan
from lookonce.samples import SampleSet
from tests.command_line import output_of
from tests.darknet.oracle import random_weights
from tests.data.drawn_samples import INFO, draw_samples
from tests.export.models import write_model


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write `data/` with train and val, and narrow models `m.safetensors` and `m.onnx` for its classes."""
    folder = tmp_path_factory.mktemp("place")
    drawn = draw_samples(folder / "drawn", 6)
    sets = {
        name: SampleSet(INFO.names, each, [], "drawn")
        for name, each in (("train", drawn[:3]), ("val", drawn[3:]))
    }
    write_samples(sets, "coco", folder / "data")
    graph = export_graph(read_source(write_model(folder / "m.safetensors", replace(INFO, width=0.02))))
    write_onnx(graph, folder / "m.onnx")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tuning, "this_cpu", lambda: Cpu("here", ("avx2",), 2))
    for module in ("bench.candidates", "runtime.plans"):
        monkeypatch.setattr(f"lookonce.{module}.this_cpu", lambda: Cpu("here", ("avx2",), 2))
    return tmp_path / "cache"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Set the milliseconds of candidates by the start of their labels; others take 50."""
    times: dict[str, float] = {}

    def measured(
        entries: Sequence[BenchEntry], case: BenchCase, *, rounds: int, advance: Callable[[str], None]
    ) -> list[Result]:
        taken = [next((t for name, t in times.items() if e.label.startswith(name)), 50.0) for e in entries]
        return [
            Result(e.label, case, ((9e3,), (t * case.batch,)), error="" if t else "it broke")
            for e, t in zip(entries, taken, strict=True)
        ]

    monkeypatch.setattr(tuning, "measure", measured)
    return times


def installed(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    monkeypatch.setattr(
        "lookonce.bench.candidates.find_spec", lambda name: name if name in packages else None
    )


run = partial(output_of, "tune")


def found(*rows: tuple[float, float, int], left: float = 0) -> Detections:
    """Return detections of width 10, each given as (left, score, label)."""
    boxes = np.array([[x + left, 0, x + left + 10, 10] for x, _, _ in rows], np.float32).reshape(-1, 4)
    return Detections(boxes, np.array([r[1] for r in rows], np.float32), np.array([r[2] for r in rows], int))


@pytest.mark.parametrize(
    ("expected", "other", "share"),
    [
        (found(), found(), 1.0),
        (found((0, 0.2, 0)), found(), 1.0),  # below the score threshold of a detection
        (found((0, 0.9, 0)), found((0, 0.8, 0)), 1.0),
        (found((0, 0.26, 0)), found((0, 0.24, 0)), 1.0),  # one barely crosses the threshold
        (found((0, 0.9, 0)), found((0, 0.9, 1)), 0.0),
        (found((0, 0.9, 0)), found((0, 0.9, 0), left=6), 0.0),
        (found((0, 0.9, 0), (50, 0.9, 1)), found((0, 0.9, 0)), 2 / 3),
        (found((0, 0.9, 0)), found(), 0.0),
        (found(), found((0, 0.9, 0)), 0.0),
    ],
)
def test_agreement_is_the_share_of_common_detections(
    expected: Detections, other: Detections, share: float
) -> None:
    assert agreement([expected], [other]) == pytest.approx(share)


def test_ncnn_is_a_candidate_and_its_plan_is_followed(
    place: Path, cache: Path, clock: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ncnn", reason="ncnn is not installed: pip install 'lookonce[ncnn]'")
    installed(monkeypatch, "ncnn")
    clock |= {"ncnn, float32": 20.0}

    run(place / "m.onnx", "--data", place / "data", "--max-drop", 1)

    plan = find_plan(place / "m.onnx", "m")
    assert plan is not None
    best = plan.best()
    assert best is not None
    assert (str(best), best.agreement) == ("ncnn, float32, 2 threads", 1.0)
    with Detector.open(place / "m.onnx") as detector:
        assert detector.engine == "ncnn, float32"


def test_a_network_that_ncnn_cannot_run_is_named_and_the_rest_tuned(
    place: Path, tmp_path: Path, clock: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ncnn", reason="ncnn is not installed: pip install 'lookonce[ncnn]'")
    installed(monkeypatch, "ncnn")
    text = (
        "[net]\nwidth=64\nheight=64\n[convolutional]\nfilters=8\nsize=3\nstride=16\npad=1\nactivation=leaky\n"
        f"[reorg]\nstride=2\n[convolutional]\nfilters={3 * (5 + len(INFO.names))}\nsize=1\n"
        f"[region]\nclasses={len(INFO.names)}\nnum=3\nanchors=1,1,2,2,3,3\n"
    )
    write_darknet_with(tmp_path / "old.cfg", text, INFO.names)

    said = run(tmp_path / "old.cfg", "--data", place / "data", "--max-drop", 1)

    assert "[reorg] cannot be written for ncnn; expected onnx or openvino, so not tried" in said
    plan = find_plan(engine_file(tmp_path / "old.cfg"), "old")
    assert plan is not None
    assert {way.backend for way in plan.ways} == {"onnxruntime"}


def write_darknet_with(cfg: Path, text: str, names: Sequence[str]) -> None:
    """Write a `.cfg` with random weights and names."""
    cfg.write_text(text)
    network = resolve(parse_cfg(text, cfg.name))
    arrays = [array.ravel() for each in random_weights(network) for array in each.in_file_order()]
    cfg.with_suffix(".weights").write_bytes(
        np.array([0, 2, 0, 0, 0], np.int32).tobytes() + np.concatenate(arrays).tobytes()
    )
    cfg.with_suffix(".names").write_text("\n".join(names))


def test_the_fastest_candidate_with_the_same_detections_wins(
    place: Path, cache: Path, clock: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, "openvino")
    clock |= {"openvino, float32, 2": 20.0, "onnxruntime, float32, 1": 30.0, "onnxruntime, int8": 60.0}

    said = run(place / "m.onnx", "--data", place / "data", "--max-drop", 1)

    plan = find_plan(place / "m.onnx", "m")
    assert plan is not None
    assert str(plan.best()) == "openvino, float32, 2 threads"
    assert (str(plan.best(1)), plan.best(1).calls) == ("onnxruntime, float32, 1 thread", 2)
    assert [way.precision for way in plan.ways if way.backend == "openvino"] == ["float32"] * 3
    assert "one image at a time: openvino, float32, 2 threads: 20.0 ms per image, 2.50 times" in said
    lines = [line for line in said.splitlines() if line.startswith("onnxruntime")]
    assert all("rejected" in line or "not on this machine" in line for line in lines[1:])
    assert isinstance(Detector.open(place / "m.onnx")._backend, OpenVinoBackend)
    assert sorted(each.name for each in plan.folder.iterdir()) == ["1", PLAN]
    assert sorted(each.name for each in (plan.folder / "1").iterdir()) == ["int8-symmetric.onnx", "int8.onnx"]


def test_a_candidate_that_loses_too_much_is_not_used(
    place: Path, clock: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch)
    clock |= {"onnxruntime, int8": 1.0}
    shares = iter([1.0, 0.94, 0.96])
    monkeypatch.setattr(tuning, "agreement", lambda *_: next(shares))

    said = run(place / "m.onnx", "--data", place / "data", "--max-drop", 1)

    assert "rejected: 94.0% of the detections in common" in said
    plan = find_plan(place / "m.onnx", "m")
    assert [(way.file, bool(way.rejected)) for way in plan.ways if way.precision == "int8"] == [
        ("int8.onnx", True),
        *[("int8-symmetric.onnx", False)] * 3,
    ]


def test_a_drop_of_ap_is_rejected(
    place: Path, clock: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch)
    aps = iter([0.5, 0.4969, 0.4971])
    monkeypatch.setattr(tuning, "evaluate", lambda *_: type("Metrics", (), {"ap": next(aps)}))
    monkeypatch.setattr(tuning, "agreement", lambda *_: 1.0)

    said = run(place / "m.onnx", "--data", place / "data")

    assert "rejected: AP 0.4969, not 0.5000" in said
    assert [bool(way.rejected) for way in find_plan(place / "m.onnx", "m").ways][3:] == [True] + [False] * 3


def stop_at_the_third(model: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stop a run at its third candidate; return the list of its files, which grows in later runs."""
    real, calls = tuning.Tuning.detect, []

    def stopping(self: tuning.Tuning, way: Way, label: str) -> object:
        calls.append(way.file)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, way, label)

    monkeypatch.setattr(tuning.Tuning, "detect", stopping)
    stopped = CliRunner().invoke(app, ["tune", str(model), "--data", str(data)])
    assert stopped.exit_code == 130
    return calls


def test_a_stopped_run_is_resumed(
    place: Path, clock: dict[str, float], monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    installed(monkeypatch)
    calls = stop_at_the_third(place / "m.onnx", place / "data", monkeypatch)
    assert find_plan(place / "m.onnx", "m") is None

    said = run(place / "m.onnx", "--data", place / "data")

    assert "resuming: 2 candidates were compared by an earlier run" in said
    assert calls[3:] == ["", "int8-symmetric.onnx"]  # the reference again, and what was missing
    assert not list(cache.glob("plans/*/*/**/unfinished.json"))


def test_a_run_is_not_resumed_with_other_labels(
    place: Path, clock: dict[str, float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed(monkeypatch)
    shutil.copytree(place, tmp_path / "own")
    data = tmp_path / "own" / "data"
    calls = stop_at_the_third(tmp_path / "own" / "m.onnx", data, monkeypatch)
    file = next(path for path in data.rglob("*.json") if "val" in str(path.relative_to(data)))
    tree = json.loads(file.read_text())
    other = {tree["categories"][0]["id"]: tree["categories"][1]["id"]}
    for each in tree["annotations"]:
        each["category_id"] = other.get(each["category_id"], tree["categories"][0]["id"])
    file.write_text(json.dumps(tree))

    said = run(tmp_path / "own" / "m.onnx", "--data", data, "--max-drop", 1)

    assert "resuming" not in said
    assert len(calls) == 3 + 3


def tuned(place: Path, clock: dict[str, float]) -> tuple[SpeedPlan, dict[str, bytes]]:
    """A plan whose fastest way is an int8 file, and everything in its folder."""
    clock |= {"onnxruntime, int8": 1.0}
    run(place / "m.onnx", "--data", place / "data", "--max-drop", 1)
    plan = find_plan(place / "m.onnx", "m")
    assert plan is not None
    best = plan.best()
    assert best is not None
    assert best.precision == "int8"
    return plan, contents(plan.folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


@pytest.mark.parametrize("ended", ["by Ctrl-C", "by an error", "without a time"])
def test_a_plan_is_kept_until_the_next_is_complete(
    place: Path, clock: dict[str, float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ended: str
) -> None:
    installed(monkeypatch)
    plan, before = tuned(place, clock)
    with monkeypatch.context() as patches:
        if ended == "by Ctrl-C":
            stop_at_the_third(place / "m.onnx", place / "data", patches)
        elif ended == "by an error":
            patches.setattr(tuning, "write_int8", failing)
            ran = CliRunner().invoke(app, ["tune", str(place / "m.onnx"), "--data", str(place / "data")])
            assert str(ran.exception) == "the disk is full"
        else:
            patches.setitem(clock, "onnxruntime", 0.0)
            patches.delitem(clock, "onnxruntime, int8")
            ran = CliRunner().invoke(
                app, ["tune", str(place / "m.onnx"), "--data", str(place / "data"), "--max-drop", "1"]
            )
            assert "no engine could be timed" in str(ran.exception)

    assert find_plan(place / "m.onnx", "m") == plan
    assert contents(plan.folder).items() >= before.items()
    with Detector.open(place / "m.onnx") as detector:
        assert detector.engine == "onnxruntime, int8"

    clock |= {"onnxruntime, int8": 40.0}
    said = run(place / "m.onnx", "--data", place / "data", "--max-drop", 1)

    assert "resuming" in said
    after = find_plan(place / "m.onnx", "m")
    assert after is not None
    assert after.milliseconds(after.best()) == 40
    assert sorted(each.name for each in plan.folder.iterdir()) == ["2", PLAN]
    with Detector.open(place / "m.onnx") as detector:
        assert detector.engine == "onnxruntime, int8"


def failing(*_: object, **__: object) -> None:
    raise ModelFileError("the disk is full")


KILLED = """
import os, sys
from lookonce.bench import candidates, tune
from lookonce.cli import main
from lookonce.runtime import plans
from lookonce.runtime.cpu import Cpu
for module in (tune, candidates, plans):
    module.this_cpu = lambda: Cpu("here", ("avx2",), 2)
candidates.find_spec = lambda name: None
where, name = {"timing": (tune, "measure"), "writing": (tune.SpeedPlan, "write")}[sys.argv[1]]
setattr(where, name, lambda *_, **__: os.kill(os.getpid(), 9))
del sys.argv[1]
main()
"""


@pytest.mark.skipif(os.name == "nt", reason="kills a process")
def test_a_plan_is_kept_if_the_next_measurement_is_killed(
    place: Path, clock: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch)
    plan, before = tuned(place, clock)
    words = [place / "m.onnx", "--data", place / "data", "--max-drop", "1"]
    for moment, resuming in (("timing", False), ("writing", True)):
        ended = subprocess.run(
            [sys.executable, "-c", KILLED, moment, "tune", *words, "--rounds", "1"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == -9, ended.stderr
        assert ("resuming: 3 candidates" in ended.stdout) == resuming
        assert find_plan(place / "m.onnx", "m") == plan
        assert contents(plan.folder).items() >= before.items()

    assert "resuming: 3 candidates" in run(*words)
    assert sorted(each.name for each in plan.folder.iterdir()) == ["2", PLAN]


def test_files_of_a_replaced_plan_and_of_other_runs_are_deleted(
    place: Path, clock: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of a run that was killed just after it wrote its plan, and files beside the plan."""
    installed(monkeypatch)
    plan, _ = tuned(place, clock)
    (plan.folder / "1" / "unfinished.json").write_text('{"about": "another", "found": {}}')
    (plan.folder / "3").mkdir()
    (plan.folder / "int8.onnx").write_bytes(b"beside the plan")

    stop_at_the_third(place / "m.onnx", place / "data", monkeypatch)
    assert find_plan(place / "m.onnx", "m") == plan
    assert sorted(each.name for each in plan.folder.iterdir()) == ["1", "2", "int8.onnx", PLAN]

    run(place / "m.onnx", "--data", place / "data", "--max-drop", 1)
    assert sorted(each.name for each in plan.folder.iterdir()) == ["2", PLAN]


def test_a_failing_reference_ends_the_run(
    place: Path, clock: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, "openvino")

    def failing(self: tuning.Tuning, way: Way, label: str) -> object:
        raise ModelFileError("m.onnx: broken")

    monkeypatch.setattr(tuning.Tuning, "detect", failing)
    ran = CliRunner().invoke(app, ["tune", str(place / "m.onnx"), "--data", str(place / "data")])
    assert (type(ran.exception), str(ran.exception)) == (ModelFileError, "m.onnx: broken")


def test_no_engine_that_can_be_timed_is_an_error(
    place: Path, clock: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch)
    clock[""] = 0.0
    ran = CliRunner().invoke(app, ["tune", str(place / "m.onnx"), "--data", str(place / "data")])
    assert isinstance(ran.exception, ModelFileError)
    assert "m.onnx: no engine could be timed: it broke" in str(ran.exception)


def test_out_writes_a_plan_that_serves_as_a_cache(
    place: Path, clock: dict[str, float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed(monkeypatch, "openvino")
    out = tmp_path / "shipped"

    said = run(place / "m.onnx", "--data", place / "data", "--max-drop", 1, "--out", out, "--json", "-")

    tree = json.loads(said[said.index("{") :])
    assert tree["max_drop"] == 1
    assert find_plan(place / "m.onnx", "m") is None
    monkeypatch.setenv("LOOKONCE_CACHE", str(out))
    assert find_plan(place / "m.onnx", "m").versions == tree["versions"]


@pytest.mark.slow
def test_a_torch_model_is_tuned_with_every_engine(place: Path) -> None:
    said = run(place / "m.safetensors", "--data", place / "data", "--max-drop", 1, "--rounds", 1)

    plan = find_plan(place / "m.safetensors", "m")
    recipes = dict.fromkeys(way.recipe[:2] for way in plan.ways)
    assert list(recipes)[:2] == [("torch", "float32"), ("onnxruntime", "float32")]
    assert {("openvino", "float32"), ("openvino", "int8")} <= set(recipes)
    assert all(way.milliseconds or way.rejected for way in plan.ways)
    assert "runs this way on this kind of machine from now on" in said
    with Detector.open(place / "m.safetensors") as detector:
        assert detector.names == INFO.names
