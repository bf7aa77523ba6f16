import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lookonce.cli import main
from lookonce.darknet.files import open_darknet
from lookonce.darknet.weights import write_weights
from lookonce.errors import ConfigError, ModelFileError
from lookonce.metadata import ModelInfo
from lookonce.model.darknet_io import largest_difference, load_darknet
from lookonce.model.files import save_model
from lookonce.model.network import build
from lookonce.runtime.description import rewrite
from lookonce.runtime.detector import Detector
from tests.command_line import attempted, invoke

if sys.platform != "win32":
    import resource

INFO = ModelInfo(
    "yolov3-tiny",
    names=("cat", "dog"),
    anchors=(((10.0, 13.0), (16.0, 30.0)), ((62.0, 45.0), (59.0, 119.0))),
    strides=(16, 32),
    input_size=(64, 96),
    width=0.25,
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_model(tmp_path / "mine.safetensors", build(INFO).state_dict(), INFO)
    return tmp_path / "mine.safetensors"


def test_darknet_files_are_written_and_verified(model: Path, tmp_path: Path) -> None:
    found = attempted("export", model, "--to", "darknet", "--out", tmp_path / "out")

    assert found.exit_code == 0
    assert f"yolov3-tiny, 2 classes, written as {tmp_path}/out/mine.cfg, .weights and .names" in found.stdout
    assert "the raw maps differ by at most" in found.stdout
    assert sorted(file.name for file in (tmp_path / "out").glob("[!.]*")) == [
        "mine.cfg",
        "mine.names",
        "mine.weights",
    ]
    assert load_darknet(tmp_path / "out" / "mine.cfg")[1] == replace(INFO, bn_epsilon=1e-6)


def test_changed_weights_fail_the_verification(model: Path, tmp_path: Path) -> None:
    attempted("export", model, "--to", "darknet", "--out", tmp_path)
    cfg = tmp_path / "mine.cfg"
    network, _ = load_darknet(cfg)
    weights = open_darknet(cfg).read_weights()
    weights[-1].bias[0] += 1
    write_weights(cfg.with_suffix(".weights"), weights)

    with pytest.raises(ModelFileError, match="expected the maps of the model it was written from"):
        largest_difference(cfg, network)


@pytest.mark.parametrize(("to", "written"), [("onnx", ["mine.onnx"]), ("openvino", ["mine.bin", "mine.xml"])])
@pytest.mark.parametrize("options", [(), ("--static", "--size", "96x64"), ("--nms", "--conf", "0.3")])
def test_engine_files_are_written_and_verified(
    model: Path, tmp_path: Path, to: str, written: list[str], options: tuple[str, ...]
) -> None:
    found = attempted("export", model, "--to", to, "--out", tmp_path / "out", *options)

    assert found.exit_code == 0, found.exception
    assert sorted(file.name for file in (tmp_path / "out").glob("[!.]*")) == written
    said = " ".join(found.stdout.split())
    assert f"written as {tmp_path}/out/{written[-1]}" in said
    assert f"read back and run beside {model} on 3 images: boxes differ by at most" in said
    size = "96x64" if options[:1] == ("--static",) else "64x96"
    shapes = "batch 1 and size fixed" if options[:1] == ("--static",) else "any batch and size"
    assert f"yolov3-tiny, 2 classes, input {size} (height x width), {shapes}" in said
    assert ("NMS in the graph: the same" in said) == (options[:1] == ("--nms",))
    if options[:1] == ("--nms",):
        with pytest.raises(ModelFileError, match="exported with --nms is for other programs"):
            Detector.open(tmp_path / "out" / written[-1])
    else:
        with Detector.open(tmp_path / "out" / written[-1]) as detector:
            assert detector.size == ((96, 64) if options else (64, 96))


def test_a_darknet_model_is_exported_without_torch(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "cache"))
    cfg = data / "darknet" / "yolo-fastest-1.1-xl.cfg"

    found = attempted(
        "export",
        cfg,
        "--to",
        "openvino",
        "--out",
        tmp_path / "fast.xml",
        "--verify-on",
        data / "photos" / "dog.jpg",
    )

    assert found.exit_code == 0, found.exception
    assert "on 2 images" in found.stdout
    assert (tmp_path / "fast.bin").exists()


@pytest.mark.parametrize("to", ["onnx", "openvino", "darknet"])
def test_a_failed_verification_leaves_the_earlier_file(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], to: str
) -> None:
    name = {"onnx": "mine.onnx", "openvino": "mine.xml", "darknet": "mine.cfg"}[to]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("earlier")
    monkeypatch.setattr("lookonce.export.verify.BOX_TOLERANCE", 0.0)
    monkeypatch.setattr("lookonce.model.darknet_io.LARGEST_DIFFERENCE", 0.0)
    arguments = ["lookonce", "export", str(model), "--to", to, "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", [*arguments, "--force"])

    with pytest.raises(SystemExit) as stopped:
        main()

    assert stopped.value.code == 2
    assert f"{name}: expected" in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "out").glob("[!.]*")] == [name]
    assert (tmp_path / "out" / name).read_text() == "earlier"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--to", "onnx", "--conf", "0.3"), "--conf and --iou: expected --nms with them"),
        (("--to", "onnx", "--nms", "--iou", "1.5"), "iou: expected a number from 0 to 1"),
        (("--to", "onnx", "--size", "100"), "--size: expected a size like 416"),
        (("--to", "darknet", "--nms"), "no further option but --fit"),
        (("--to", "onnx", "--out", "x.xml"), r"expected a folder, or a file that ends in .onnx"),
        (("--to", "onnx", "--out", "x.ONNX"), r"expected a folder, or a file that ends in .onnx"),
    ],
)
def test_impossible_options_are_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)

    found = attempted("export", model, *options)

    assert isinstance(found.exception, ConfigError)
    assert message in str(found.exception)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.safetensors"]


def test_a_model_is_not_written_over_itself(model: Path, tmp_path: Path) -> None:
    assert attempted("export", model, "--to", "onnx", "--out", tmp_path).exit_code == 0

    found = attempted("export", tmp_path / "mine.onnx", "--to", "onnx", "--out", tmp_path)

    assert "expected another file than the model itself" in str(found.exception)


@pytest.mark.parametrize("to", ["onnx", "darknet"])
def test_a_folder_that_cannot_be_written_is_one_line(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], to: str
) -> None:
    (tmp_path / "out").write_text("a file")
    arguments = ["lookonce", "export", str(model), "--to", to, "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", arguments)

    with pytest.raises(SystemExit) as stopped:
        main()

    assert stopped.value.code == 2
    assert ": Not a directory" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
@pytest.mark.parametrize("to", ["onnx", "openvino", "darknet"])
def test_a_full_disk_is_one_line_and_leaves_nothing(model: Path, tmp_path: Path, to: str) -> None:
    if to == "openvino":
        pytest.importorskip("openvino")

    def full_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    command = [
        sys.executable,
        "-m",
        "lookonce",
        "export",
        str(model),
        "--to",
        to,
        "--out",
        str(tmp_path / "o"),
    ]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, preexec_fn=full_disk)

    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert ": the model cannot be written: " in line
    assert [path.name for path in tmp_path.iterdir()] == ["mine.safetensors"]


def test_an_unknown_target_lists_the_known_ones(model: Path) -> None:
    found = invoke("export", model, "--to", "caffe", columns=100)

    assert found.exit_code == 2
    assert "darknet" in found.stderr


def test_nms_uses_the_models_own_thresholds_and_says_so(model: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.safetensors"
    rewrite(model, own, lambda info: replace(info, thresholds=(0.31, 0.42)))
    first, second = INFO.names
    wanted = {
        (): f"score thresholds of the model (--conf overrides): {first} 0.31, {second} 0.42",
        ("--conf", f"{second}=0.6"): f"score thresholds: {first} 0.31, {second} 0.60",
        ("--conf", "0.3"): "score threshold: 0.3, instead of the model's own",
    }
    for options, said in wanted.items():
        found = attempted(
            "export", own, "--to", "onnx", "--out", tmp_path / "out.onnx", "--nms", "--force", *options
        )
        assert found.exit_code == 0, found.exception
        assert said in " ".join(found.stdout.split())
        assert "NMS in the graph: the same" in found.stdout
    unknown = attempted(
        "export", own, "--to", "onnx", "--out", tmp_path / "out.onnx", "--nms", "--conf", "bat=0.3"
    )
    assert str(unknown.exception).startswith("--conf: expected some of")
