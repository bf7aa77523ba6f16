"""ncnn gives the same candidates as ONNX Runtime, and changed files are rejected before it reads them."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lookonce import Detector
from lookonce.bench.contenders import CONTENDERS, BenchCase
from lookonce.bench.files import prepare
from lookonce.cli import app
from lookonce.darknet.cfg import parse_cfg
from lookonce.darknet.described import describe
from lookonce.darknet.ncnn_graph import MAGIC, write_ncnn
from lookonce.darknet.onnx_graph import build_onnx
from lookonce.darknet.resolve import resolve
from lookonce.errors import ConfigError, ModelFileError
from lookonce.export.files import write_onnx
from lookonce.images import read_image
from lookonce.metadata import PARAM_DESCRIPTION
from lookonce.runtime.backends import load_engine, open_backend
from tests.darknet.oracle import random_weights
from tests.export.models import THREE_SCALES, write_model
from tests.export.test_planes import NETWORKS, noise

ncnn = pytest.importorskip("ncnn", reason="ncnn is not installed: pip install 'lookonce[ncnn]'")
REFUSED = {"xnor": "xnor", "reorg": "reorg", "tree": "a tree of classes"}


def write_pair(folder: Path, text: str, name: str) -> tuple[Path, Path]:
    """Write a network with random weights as `.onnx` and `.param`."""
    network = resolve(parse_cfg(text, f"{name}.cfg"))
    weights = random_weights(network)
    info = describe(network, tuple(str(number) for number in range(network.classes)))
    write_onnx(build_onnx(network, weights, info), folder / "a.onnx")
    write_ncnn(network, weights, info, folder / "a.param")
    return folder / "a.onnx", folder / "a.param"


def assert_alike(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    inside = [each[..., :4].clip(-100, 300) for each in (found, expected)]  # exp is inaccurate far outside
    np.testing.assert_allclose(*inside, rtol=0, atol=5e-3)
    np.testing.assert_allclose(found[..., 4:], expected[..., 4:], rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export a trained model as `.param`, with `.safetensors` and `.onnx` beside it."""
    folder = tmp_path_factory.mktemp("model")
    write_model(folder / "mine.safetensors", THREE_SCALES)
    for form in ("onnx", "ncnn"):
        words = ["export", str(folder / "mine.safetensors"), "--to", form, "--out", str(folder)]
        ran = CliRunner().invoke(app, words)
        assert ran.exit_code == 0, ran.output
    return folder / "mine.param"


@pytest.mark.parametrize("name", NETWORKS)
def test_every_kind_of_network_agrees_or_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    text = NETWORKS[name]
    network = resolve(parse_cfg(text, f"{name}.cfg"))
    if reason := next(
        (why for word, why in REFUSED.items() if f"[{word}]" in text or f"{word}=" in text), None
    ):
        with pytest.raises(
            ModelFileError, match=rf"\.cfg:\d+: .*{reason}.* cannot be written for ncnn"
        ) as caught:
            write_pair(tmp_path, text, name)
        assert "\n" not in str(caught.value)
        return
    onnx, param = write_pair(tmp_path, text, name)
    images = np.concatenate([noise(network), 255 - noise(network)])

    assert_alike(open_backend(param, threads=1)(images), open_backend(onnx, threads=1)(images))


def test_most_kinds_of_network_are_run() -> None:
    """Without this test, the one above could pass by rejecting everything."""
    refused = [name for name, text in NETWORKS.items() if any(f"[{word}]" in text or f"{word}=" in text
               for word in REFUSED)]  # fmt: skip
    assert len(refused) <= len(NETWORKS) // 4


@pytest.mark.parametrize("size", [(128, 160), (96, 224)])
def test_features_and_candidates_match_onnx_at_any_size(model: Path, size: tuple[int, int]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
    one, other = open_backend(model, threads=1), open_backend(model.with_suffix(".onnx"), threads=1)

    (found, features), (expected, theirs) = one.with_features(images), other.with_features(images)

    assert_alike(found, expected)
    assert_alike(one(images), expected)
    np.testing.assert_allclose(np.sort(features), np.sort(theirs), atol=1e-4)


def test_detections_on_photographs_match_onnx(data: Path, model: Path) -> None:
    images = [read_image(data / "photos" / f"{name}.jpg") for name in ("dog", "eagle", "horses")]
    found = []
    for path in (model, model.with_suffix(".onnx")):
        with Detector.open(path, conf=0.5, threads=1) as detector:
            found.append(list(detector.detect_many(images, batch=3)))
            assert detector.info.names == THREE_SCALES.names
    for mine, theirs in zip(*found, strict=True):
        assert len(theirs) >= 5
        assert mine.labels.tolist() == theirs.labels.tolist()
        np.testing.assert_allclose(mine.boxes, theirs.boxes, atol=0.1)
        np.testing.assert_allclose(mine.scores, theirs.scores, atol=1e-4)


def test_threads_share_one_network(model: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 1, 128, 160, 3), np.uint8)
    backend = open_backend(model, threads=1)
    expected = [backend(each) for each in images]
    with ThreadPoolExecutor(4) as pool:
        for found, own in zip(pool.map(backend, images), expected, strict=True):
            np.testing.assert_array_equal(found, own)


def test_closing_twice_is_allowed_and_use_after_it_is_an_error(model: Path) -> None:
    backend = open_backend(model)
    assert backend.engine == "ncnn, float32"
    backend.close()
    backend.close()
    with pytest.raises(ValueError, match="was closed"):
        backend(np.zeros((1, 128, 160, 3), np.uint8))


def test_other_programs_can_read_the_files(model: Path) -> None:
    net = ncnn.Net()
    assert net.load_param(str(model)) == 0
    assert net.load_model(str(model.with_suffix(".ncnn.bin"))) == 0
    assert net.input_names() == ["image"]
    assert net.output_names() == [f"{kind}_{scale}" for scale in range(3) for kind in ("sides", "maps")]


def test_one_folder_can_hold_openvino_and_ncnn_files(model: Path, tmp_path: Path) -> None:
    """Both engines have a file of weights beside the graph."""
    pytest.importorskip("openvino")
    for form in ("openvino", "ncnn"):
        words = ["export", str(model.with_suffix(".onnx")), "--to", form, "--out", str(tmp_path)]
        assert CliRunner().invoke(app, words).exit_code == 0
    images = np.random.default_rng(0).integers(0, 256, (1, 128, 160, 3), np.uint8)
    found = [open_backend(tmp_path / f"mine{suffix}", threads=1)(images) for suffix in (".xml", ".param")]
    assert_alike(*found)


def test_rename_changes_only_the_description(model: Path, tmp_path: Path) -> None:
    words = ["rename", str(model), "eel=Aal, grün", "--out", str(tmp_path / "b.param")]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert open_backend(tmp_path / "b.param").info.names == ("cat", "dog", "Aal, grün")
    assert (tmp_path / "b.ncnn.bin").read_bytes() == model.with_suffix(".ncnn.bin").read_bytes()


@pytest.mark.parametrize("option", ["--int8 --calibrate data", "--static", "--layout nchw", "--nms"])
def test_options_of_other_forms_are_refused(model: Path, tmp_path: Path, option: str) -> None:
    words = ["export", str(model.with_suffix(".onnx")), "--to", "ncnn", "--out", str(tmp_path)]
    ran = CliRunner().invoke(app, [*words, *option.split()])
    assert isinstance(ran.exception, ConfigError)
    assert "--to ncnn: expected neither" in str(ran.exception)
    assert not list(tmp_path.iterdir())


def test_precisions_and_devices_that_ncnn_lacks_are_refused(model: Path) -> None:
    with pytest.raises(ConfigError, match="expected float32, in which ncnn computes"):
        load_engine(model, None, None, "bfloat16")
    with pytest.raises(ConfigError, match=r"expected cpu, on which an engine for \.param files runs"):
        open_backend(model, device="cuda")
    with pytest.raises(ConfigError, match="expected a model in int8"):
        open_backend(model, precision="int8")
    with pytest.raises(ConfigError, match=r"expected a file that openvino runs \(\.xml, \.onnx\)"):
        open_backend(model, backend="openvino")


def damaged(
    model: Path, folder: Path, param: Callable[[str], str], weights: Callable[[bytes], bytes]
) -> Path:
    """Write a changed copy of a model."""
    path = folder / "changed.param"
    path.write_text(param(model.read_text()))
    path.with_suffix(".ncnn.bin").write_bytes(weights(model.with_suffix(".ncnn.bin").read_bytes()))
    return path


def with_number(number: float, place: int) -> Callable[[bytes], bytes]:
    return lambda data: data[: 4 * place] + np.float32(number).tobytes() + data[4 * place + 4 :]


def described(**entries: object) -> Callable[[str], str]:
    """Write a `.param` whose description has other entries."""

    def change(text: str) -> str:
        *lines, last = text.splitlines()
        tree = json.loads(last.removeprefix(PARAM_DESCRIPTION)) | entries
        return "\n".join([*lines, PARAM_DESCRIPTION + json.dumps(tree)])

    return change


SAME: Callable = lambda content: content  # noqa: E731
EVIL = 2**31 - 1


@pytest.mark.parametrize(
    ("param", "weights", "message"),
    [
        (SAME, lambda data: data[:-4], r"changed\.ncnn\.bin: expected [\d,]+ bytes, .*, found"),
        (SAME, lambda data: data + bytes(4), r"changed\.ncnn\.bin: expected [\d,]+ bytes, .*, found"),
        (SAME, lambda data: b"", r"changed\.ncnn\.bin: expected [\d,]+ bytes, .*, found 0"),
        (SAME, with_number(np.nan, 9), r"changed\.ncnn\.bin: expected finite float32 numbers"),
        (SAME, with_number(np.inf, 900_000), r"changed\.ncnn\.bin: expected finite float32 numbers"),
        (SAME, lambda data: b"\x47\x6b\x30\x01" + data[4:], r"expected finite float32 numbers from byte 0"),
        (lambda text: text.replace("0=8", f"0={EVIL}", 1), SAME, r"changed\.param:\d+: expected the layers"),
        (lambda text: text.replace("1=3", "1=-3", 1), SAME, r"changed\.param:\d+: expected the layers"),
        (lambda text: text.replace("BinaryOp", "DetectionOutput", 1), SAME, r":\d+: expected the layers"),
        (lambda text: re.sub(r"\n\d+ \d+\n", f"\n{EVIL} 9\n", text, count=1), SAME, r"param:2: expected"),
        (lambda text: text.replace("\n#", "\nNoop a 0 0\n#"), SAME, "expected the layers"),
        (lambda text: text.rpartition(PARAM_DESCRIPTION)[0], SAME, "with its description in the last line"),
        (lambda text: "", SAME, "an empty file"),
        (lambda text: "<html>", SAME, "an HTML page"),
        (lambda text: f"{MAGIC}\n{PARAM_DESCRIPTION}{{}}", SAME, "the model description is damaged"),
        (described(width=0.25), SAME, r"changed\.param:\d+: expected the layers"),
        (described(names=["one"]), SAME, r"changed\.param:\d+: expected the layers"),
        (described(architecture="darknet", cfg="[net]\n" * 9), SAME, r"changed\.param: "),
        (described(input_size=[1 << 20, 1 << 20]), SAME, "the model description is damaged"),
        (described(bn_epsilon="much"), SAME, "the model description is damaged"),
    ],
)  # fmt: skip
def test_a_changed_file_never_reaches_ncnn(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    param: Callable,
    weights: Callable,
    message: str,
) -> None:
    path = damaged(model, tmp_path, param, weights)
    monkeypatch.setattr(ncnn, "Net", lambda: pytest.fail("ncnn got the file"))
    with pytest.raises(ModelFileError, match=message) as caught:
        open_backend(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_missing_bin_is_named(model: Path, tmp_path: Path) -> None:
    (tmp_path / "alone.param").write_bytes(model.read_bytes())
    with pytest.raises(ModelFileError, match=r"alone\.ncnn\.bin"):
        open_backend(tmp_path / "alone.param")


def test_a_bin_cut_short_while_it_is_checked_is_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading a memory-mapped file that is cut short would kill the process (SIGBUS)."""
    path = damaged(model, tmp_path, SAME, SAME)
    whole = np.isfinite

    def cut(numbers: np.ndarray) -> np.ndarray:
        os.truncate(path.with_suffix(".ncnn.bin"), 1 << 16)
        return np.asarray(whole(numbers))

    monkeypatch.setattr(np, "isfinite", cut)
    with pytest.raises(ModelFileError, match=r"ncnn\.bin: expected finite float32 numbers from byte"):
        open_backend(path)


def test_windows_line_ends_are_read(model: Path, tmp_path: Path) -> None:
    path = damaged(model, tmp_path, SAME, SAME)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    images = np.random.default_rng(0).integers(0, 256, (1, 128, 160, 3), np.uint8)
    np.testing.assert_array_equal(
        open_backend(path, threads=1)(images), open_backend(model, threads=1)(images)
    )


def test_waiting_ncnn_threads_sleep(model: Path) -> None:
    """The library prints its settings when it is loaded. Our setting must not stay in the environment."""
    code = (
        "import os, sys; from pathlib import Path; from lookonce.runtime.backends import open_backend; "
        "open_backend(Path(sys.argv[1])); print('left:', os.environ.get('OMP_WAIT_POLICY'))"
    )
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "verbose", "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-c", code, str(model)], env=environment, capture_output=True, text=True, check=True
    )
    if "GOMP_SPINCOUNT" not in ran.stderr:
        pytest.skip("this ncnn does not use GNU's OpenMP")
    assert "GOMP_SPINCOUNT = '0'" in ran.stderr
    assert "left: None" in ran.stdout


@pytest.mark.parametrize("name", ["mine.safetensors", "mine.param"])
def test_bench_runs_ncnn(model: Path, tmp_path: Path, name: str) -> None:
    files = prepare(model.with_name(name), tmp_path)
    fitting = [each for each in ("lookonce-ncnn", "ncnn", "onnxruntime") if CONTENDERS[each].fits(files)]
    assert fitting[:2] == ["lookonce-ncnn", "ncnn"]
    assert ("onnxruntime" in fitting) == (name != "mine.param")
    case = BenchCase((128, 160), 2, 1)
    assert len(CONTENDERS["lookonce-ncnn"].open(files, case)()) == 2
    maps = [np.asarray(mat) for failed, mat in CONTENDERS["ncnn"].open(files, case)() if not failed]
    assert [each.shape for each in maps[:3]] == [(16, 16, 20), (16, 8, 10), (16, 4, 5)]
    if name != "mine.param":
        expected = [each[0] for each in CONTENDERS["onnxruntime"].open(files, case)()]
        for mine, theirs in zip(maps, expected, strict=False):
            np.testing.assert_allclose(mine, theirs, atol=1e-4)
