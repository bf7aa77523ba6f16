"""Test training of networks given as a `.cfg`: the runs, their files, and commands that use the result."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lookonce.config import TrainSettings
from lookonce.darknet.described import network_of
from lookonce.darknet.weights import write_weights
from lookonce.errors import ConfigError, ModelFileError, TrainingError
from lookonce.images import read_image
from lookonce.metadata import DARKNET
from lookonce.model.darknet_io import load_darknet
from lookonce.model.files import load_model, load_weights
from lookonce.recipe import load_settings
from lookonce.runtime.detector import Detector
from lookonce.train.checkpoint import LAST
from lookonce.train.folder import NETWORK
from lookonce.train.learner import Learner
from lookonce.train.run import train
from lookonce.train.setup import TrainData, describe, make_network
from tests.command_line import attempted
from tests.darknet.kinds import KINDS, kind, net, to_16
from tests.darknet.oracle import (
    in_files,
    needs_opencv_importer,
    opencv_raw_maps,
    random_weights,
    relative_error,
)
from tests.data.drawn_samples import INFO, draw_samples
from tests.train.test_run import quiet

QUICK = ("size=64x96", "batch=3", "workers=1", "log_every=2", "optimizer.warmup_epochs=0.5")


@pytest.fixture
def data(tmp_path: Path) -> TrainData:
    samples = draw_samples(tmp_path, 7)
    return TrainData(INFO.names, samples, samples[:4])


def written(folder: Path, name: str) -> Path:
    (folder / f"{name}.cfg").write_text(KINDS[name])
    return folder / f"{name}.cfg"


def settings(model: Path, *assignments: str) -> TrainSettings:
    return load_settings(None, (*QUICK, *assignments), model=str(model))


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_trains_and_detects_like_its_darknet_files(
    data: TrainData, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "run"
    result = train(data, settings(written(tmp_path, name), "epochs=1"), out, quiet())
    weights, info = load_weights(out / LAST)
    assert (info.architecture, info.names, info.input_size) == (DARKNET, INFO.names, (64, 96))
    assert (info.fit, len(info.strides)) == ("letterbox", len(kind(name).scales))
    assert all(tensor.isfinite().all() for tensor in weights.values())

    ran = attempted("export", result.model, "--to", "darknet", "--out", tmp_path)
    assert ran.exit_code == 0, ran.output
    ran = attempted("export", result.model, "--to", "onnx", "--out", tmp_path)
    assert ran.exit_code == 0, ran.output
    # `export` compares the candidates of both and refuses files that differ
    for model in (result.model, tmp_path / "best.cfg", tmp_path / "best.onnx"):
        with Detector.open(model, conf=0.0001) as detector:
            assert len(detector(read_image(data.train[3].path))) > 0


def test_a_moved_run_resumes_without_its_start_file(data: TrainData, tmp_path: Path) -> None:
    cfg = written(tmp_path, "tiny")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(data, settings(cfg, "epochs=2"), whole, quiet())
    train(data, settings(cfg, "epochs=1"), cut, quiet())
    cfg.unlink()
    moved = tmp_path / "moved"
    shutil.move(cut, moved)

    kept = load_settings(moved / "settings.yaml")
    assert kept.model == str(moved / NETWORK)
    train(data, kept.model_copy(update={"epochs": 2}), moved, quiet(), resume=True)

    assert load_weights(moved / LAST)[1].cfg == load_weights(whole / LAST)[1].cfg
    assert load_weights(moved / LAST)[0].keys() == load_weights(whole / LAST)[0].keys()


def test_an_interrupted_run_ends_with_the_same_bits(data: TrainData, tmp_path: Path) -> None:
    cfg = written(tmp_path, "trident")
    train(data, settings(cfg, "epochs=2"), tmp_path / "whole", quiet())
    calls = iter([False, True])
    from lookonce.train.run import Stopped

    with pytest.raises(Stopped):
        train(data, settings(cfg, "epochs=2"), tmp_path / "cut", quiet(stop=lambda: next(calls)))
    # the same file again, as when the whole command is repeated
    train(data, settings(cfg, "epochs=2"), tmp_path / "cut", quiet(), resume=True)
    whole, cut = (load_weights(tmp_path / name / LAST)[0] for name in ("whole", "cut"))
    assert all(torch.equal(tensor, cut[name]) for name, tensor in whole.items())


def test_a_run_keeps_its_network(data: TrainData, tmp_path: Path) -> None:
    train(data, settings(written(tmp_path, "tiny"), "epochs=1"), tmp_path / "run", quiet())
    other = settings(written(tmp_path, "prn"), "epochs=2")
    with pytest.raises(ConfigError, match=r"a resumed run keeps its settings, found model: .*prn\.cfg"):
        train(data, other, tmp_path / "run", quiet(), resume=True)
    (tmp_path / "run" / NETWORK).write_text(KINDS["prn"])
    kept = load_settings(tmp_path / "run" / "settings.yaml").model_copy(update={"epochs": 2})
    with pytest.raises(TrainingError, match="expected the checkpoint of a model with "):
        train(data, kept, tmp_path / "run", quiet(), resume=True)


@pytest.mark.parametrize("name", ["tiny", "region"])
def test_anchors_can_come_from_the_data(data: TrainData, tmp_path: Path, name: str) -> None:
    info = describe(data, settings(written(tmp_path, name), "anchors=data"))
    official = describe(data, settings(tmp_path / f"{name}.cfg"))
    assert [len(scale) for scale in info.anchors] == [len(scale) for scale in official.anchors]
    assert info.anchors != official.anchors
    found = [scale.anchors for scale in network_of(info).scales]
    assert found == list(info.anchors)


@pytest.mark.parametrize(
    ("assignments", "complaint"),
    [
        (["width=0.5"], "width: expected 1, since a .cfg fixes its channels, found 0.5"),
        (["anchors=[[[10,13]]]"], r"anchors: expected 2 lists of \[width, height\] for .*tiny\.cfg, found 1"),
        (["freeze=neck"], "freeze: expected nothing"),
    ],
)
def test_settings_that_do_not_fit_a_cfg_are_refused(
    data: TrainData, tmp_path: Path, assignments: list[str], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        train(data, settings(written(tmp_path, "tiny"), *assignments), tmp_path / "run", quiet())


def test_a_frozen_layer_comes_from_a_trained_model(data: TrainData, tmp_path: Path) -> None:
    cfg, out = written(tmp_path, "tiny"), tmp_path / "run"
    with pytest.raises(
        ConfigError, match=r"freeze: expected layers with weights .*random weights in layers\.0$"
    ):
        train(data, settings(cfg, "freeze=backbone"), out, quiet())
    write_weights(tmp_path / "tiny.weights", random_weights(kind("tiny")))
    # layer 5 is a head, which starts from random weights because the classes differ
    for layers, fresh in (("11", "5"), ("layers.11", "11"), ("layers.11.conv", "11")):
        with pytest.raises(ConfigError, match=rf"random weights in layers\.{fresh}$"):
            train(data, settings(cfg, f"freeze={layers}"), out, quiet(), weights=cfg)
    result = train(data, settings(cfg, "epochs=1", "freeze=5"), out, quiet(), weights=cfg)
    before, after = (
        load(file)[0].state_dict() for load, file in ((load_darknet, cfg), (load_model, result.model))
    )
    for name, tensor in after.items():
        if name.endswith("conv.weight"):
            same = tensor.shape == before[name].shape and torch.equal(tensor, before[name])
            assert same == (int(name.split(".")[1]) < 5), name


def test_a_cfg_without_a_head(data: TrainData, tmp_path: Path) -> None:
    (tmp_path / "x.cfg").write_text(net() + to_16())
    with pytest.raises(ModelFileError, match=r"x\.cfg: expected a detector, found no \[yolo\] section"):
        train(data, settings(tmp_path / "x.cfg"), tmp_path / "run", quiet())


def test_the_size_must_fit_the_coarsest_stride(data: TrainData, tmp_path: Path) -> None:
    text = KINDS["mobilenet"].replace("stride=2", "stride=4", 1).replace("height=96", "height=128")
    (tmp_path / "x.cfg").write_text(text)
    with pytest.raises(ConfigError, match=r"size: expected multiples of 64, the coarsest stride of .*x\.cfg"):
        describe(data, settings(tmp_path / "x.cfg"))
    assert describe(data, settings(tmp_path / "x.cfg", "size=64x128")).side_multiple == 64


def test_a_cfg_of_a_readable_network_is_recognized(data: TrainData, tmp_path: Path) -> None:
    from lookonce.darknet.classic import classic_cfg

    (tmp_path / "my.cfg").write_text(classic_cfg(replace(INFO, width=0.125, names=("x",))))
    info = describe(data, settings(tmp_path / "my.cfg"))
    assert (info.architecture, info.width, info.cfg) == ("yolov3-tiny", 0.125, "")
    assert info.anchors == INFO.anchors


@pytest.mark.parametrize("name", KINDS)
def test_objectness_starts_at_the_prior(data: TrainData, tmp_path: Path, name: str) -> None:
    from lookonce.model.backend import TorchBackend

    chosen = settings(written(tmp_path, name))
    info = describe(data, chosen)
    network = make_network(info, chosen).eval()
    candidates = TorchBackend(network, info)(np.zeros((1, 64, 96, 3), np.uint8))
    expected = 0.005 if name == "gaussian" else 0.01
    np.testing.assert_allclose(candidates[..., 4], expected, rtol=0.2)


def test_layers_without_a_head_are_not_trained(data: TrainData, tmp_path: Path) -> None:
    chosen = settings(written(tmp_path, "gray"))
    info = describe(data, chosen)
    learner = Learner(make_network(info, chosen), info, chosen)
    trained = sum(len(group["params"]) for group in learner.optimizer.param_groups)
    assert trained == sum(each.requires_grad for each in learner.network.parameters())
    assert trained == len(list(learner.network.parameters())) - 3


def test_a_network_of_one_channel_sees_gray(data: TrainData, tmp_path: Path) -> None:
    """A trained network of one channel receives the luminance, in torch and in its exported file."""
    result = train(data, settings(written(tmp_path, "gray"), "epochs=1"), tmp_path / "run", quiet())
    network, _ = load_model(result.model)
    seen: list[torch.Tensor] = []
    network.layers["0"].register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    color = np.random.default_rng(3).integers(0, 256, (64, 96, 3), np.uint8)

    network.eval()(torch.from_numpy(color).permute(2, 0, 1)[None] / 255)

    expected = color @ np.array([0.299, 0.587, 0.114]) / 255
    np.testing.assert_allclose(seen[0].numpy(), expected[None, None], atol=1e-6)
    attempted("export", result.model, "--to", "onnx", "--out", tmp_path)
    green, blue = (np.zeros((64, 96, 3), np.uint8) for _ in range(2))
    green[..., 1], blue[..., 2] = 20, 103  # the same luminance, 11.74
    with Detector.open(tmp_path / "best.onnx", conf=0.0001) as detector:
        assert len(detector(green)) > 0
        np.testing.assert_allclose(detector(green).boxes, detector(blue).boxes, atol=0.01)


@needs_opencv_importer
@pytest.mark.parametrize("name", ["tiny", "three scales", "v4-tiny", "csp", "fastest", "region"])
def test_opencv_computes_the_same_as_the_trained_network(data: TrainData, tmp_path: Path, name: str) -> None:
    result = train(data, settings(written(tmp_path, name), "epochs=1"), tmp_path / "run", quiet())
    attempted("export", result.model, "--to", "darknet", "--out", tmp_path)
    network, info = load_model(result.model)
    images = np.random.default_rng(3).integers(0, 256, (1, 64, 96, 3), np.uint8)
    expected = opencv_raw_maps(in_files(tmp_path / "best.cfg"), network_of(info), images)
    with torch.inference_mode():
        maps = network.eval()(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
    for ours, theirs, decoding in zip(maps, expected, network_of(info).decodings, strict=True):
        found = torch.sigmoid(ours) if decoding.form == "new_coords" else ours
        assert relative_error(found.numpy(), theirs) < 1e-4
