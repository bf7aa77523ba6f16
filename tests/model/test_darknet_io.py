"""Compare Darknet files read into torch networks with the same files as an ONNX graph."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lookonce.darknet.cfg import parse_cfg
from lookonce.darknet.classic import classic_cfg
from lookonce.darknet.described import network_of
from lookonce.darknet.files import open_darknet
from lookonce.darknet.resolve import resolve
from lookonce.darknet.weights import write_weights
from lookonce.errors import ModelFileError
from lookonce.metadata import ModelInfo
from lookonce.model.darknet_io import load_darknet, load_start, save_darknet
from lookonce.model.decode import decode
from lookonce.model.network import build, to_input
from lookonce.networks import NETWORKS
from lookonce.train.transfer import transfer
from tests.darknet.oracle import lookonce_outputs, random_weights, relative_error


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)


def described(architecture: str, epsilon: float = 1e-6) -> ModelInfo:
    scales = 2 if architecture == "yolov3-tiny" else 3
    return ModelInfo(
        architecture,
        names=("cat", "dog"),
        anchors=tuple(((8.0 * s, 9.0 * s), (12.0 * s, 7.0 * s)) for s in range(1, scales + 1)),
        strides=(8, 16, 32)[-scales:],
        input_size=(64, 96),
        width=0.15,
        bn_epsilon=epsilon,
    )


def trained(info: ModelInfo) -> torch.nn.Module:
    """Build a network in which every tensor differs from its initial values."""
    network = build(info).eval()
    generator = torch.Generator().manual_seed(3)
    for name, tensor in network.state_dict().items():
        if "num_batches" not in name:
            noise = torch.rand(tensor.shape, generator=generator)
            tensor.copy_(noise * 0.1 - 0.05 if tensor.ndim == 4 else noise + 0.01)
    return network


def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)


def raw_maps(network: torch.nn.Module) -> list[Tensor]:
    with torch.inference_mode():
        return list(network.eval()(to_input(torch.from_numpy(images()).permute(0, 3, 1, 2))))


@pytest.mark.parametrize("name", ["yolov3-tiny", "yolov3-spp"])
def test_official_networks_give_the_same_results_in_torch_and_onnx(
    data: Path, tmp_path: Path, name: str
) -> None:
    cfg = tmp_path / f"{name}.cfg"
    text = (data / "darknet" / f"{name}.cfg").read_text()
    cfg.write_text(re.sub("height=.*", "height=64", re.sub("width=.*", "width=96", text)))
    shutil.copy(data / "darknet" / "coco.names", tmp_path)
    weights = random_weights(resolve(parse_cfg(cfg.read_text(), name)))
    write_weights(cfg.with_suffix(".weights"), weights)

    network, info = load_darknet(cfg)

    cfg.with_suffix(".weights").unlink()
    assert (info.architecture, info.width, info.bn_epsilon, info.input_size) == (name, 1, 1e-6, (64, 96))
    assert info.names[:2] == ("person", "bicycle")
    readable = raw_maps(network)
    candidates, graph = lookonce_outputs(resolve(parse_cfg(cfg.read_text(), name)), weights, images())
    for ours, theirs in zip(readable, graph, strict=True):
        assert relative_error(ours.numpy(), theirs) < 1e-5
    decoded = decode(readable, info.anchors, info.strides).numpy()
    np.testing.assert_allclose(candidates, decoded, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("architecture", NETWORKS)
def test_writing_and_reading_back_gives_identical_weights(tmp_path: Path, architecture: str) -> None:
    info = described(architecture)
    network = trained(info)

    save_darknet(tmp_path / "model.cfg", network, info)
    back, back_info = load_darknet(tmp_path / "model.cfg")

    assert back_info == info
    for name, tensor in network.state_dict().items():
        if "num_batches" not in name:
            assert torch.equal(back.state_dict()[name], tensor), name


@pytest.mark.parametrize("epsilon", [1e-5, 1e-3])
@pytest.mark.parametrize("architecture", NETWORKS)
def test_another_epsilon_is_folded_into_the_weights(
    tmp_path: Path, architecture: str, epsilon: float
) -> None:
    info = described(architecture, epsilon)
    network = trained(info)

    save_darknet(tmp_path / "model.cfg", network, info)

    back, back_info = load_darknet(tmp_path / "model.cfg")
    assert back_info == replace(info, bn_epsilon=1e-6)
    model = open_darknet(tmp_path / "model.cfg")
    graph = lookonce_outputs(model.network, model.read_weights(), images())[1]
    for original, read_back, onnx in zip(raw_maps(network), raw_maps(back), graph, strict=True):
        assert relative_error(read_back.numpy(), original.numpy()) < 1e-5
        assert relative_error(onnx, original.numpy()) < 1e-5


def test_a_backbone_is_recognized_by_its_length(tmp_path: Path) -> None:
    info = described("yolov3")
    source = random_weights(resolve(parse_cfg(classic_cfg(info), "x.cfg")))
    write_weights(tmp_path / "darknet53.conv.74", source[:52])

    weights = load_start(tmp_path / "darknet53.conv.74", network_of(replace(info, names=("a", "b", "c"))))

    assert len(weights) == 52 * 6  # with torch's counter of batches
    assert all(name.startswith("backbone.") for name in weights)
    assert torch.equal(weights["backbone.stem.conv.weight"], torch.from_numpy(source[0].kernel))
    last = "backbone.stages.4.4.expand"
    assert torch.equal(weights[f"{last}.conv.weight"], torch.from_numpy(source[51].kernel))
    assert torch.equal(weights[f"{last}.bn.running_var"], torch.from_numpy(source[51].batch_norm.variance))


def test_training_starts_from_a_backbone(tmp_path: Path) -> None:
    info = described("yolov3")
    write_weights(tmp_path / "x.conv.74", random_weights(resolve(parse_cfg(classic_cfg(info), "x.cfg")))[:52])
    network = build(info)

    taken = transfer(network, info, tmp_path / "x.conv.74")

    assert len(taken.copied) == 52
    assert str(taken).endswith(
        "fresh: coarse.five.0, coarse.five.1, coarse.five.2, coarse.five.3 and 19 more"
    )


@pytest.mark.parametrize("given", ["model.cfg", "model.weights"])
def test_training_of_other_classes_starts_from_a_whole_model(tmp_path: Path, given: str) -> None:
    info = described("yolov3-tiny")
    save_darknet(tmp_path / "model.cfg", trained(info), info)
    other = replace(info, names=("a", "b", "c"))
    network = build(other)

    taken = transfer(network, other, tmp_path / given)

    assert taken.fresh == ("coarse_head", "fine_head")
    expected = trained(info).state_dict()["backbone.convs.0.bn.running_var"]
    assert torch.equal(network.state_dict()["backbone.convs.0.bn.running_var"], expected)


def test_a_backbone_of_another_width_is_refused(tmp_path: Path) -> None:
    info = described("yolov3")
    source = random_weights(resolve(parse_cfg(classic_cfg(info), "x.cfg")))
    write_weights(tmp_path / "x.conv.74", source[:52])

    with pytest.raises(ModelFileError, match="ran out in convolution"):
        load_start(tmp_path / "x.conv.74", network_of(replace(info, width=0.25)))


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    info = described("yolov3-tiny")
    weights = random_weights(resolve(parse_cfg(classic_cfg(info), "x.cfg")))
    weights[3].kernel[0] = np.nan
    (tmp_path / "model.cfg").write_text(classic_cfg(info))
    write_weights(tmp_path / "model.weights", weights)
    write_weights(tmp_path / "alone.weights", weights)

    with pytest.raises(ModelFileError, match="infinite, not a number"):
        load_darknet(tmp_path / "model.cfg")
    with pytest.raises(ModelFileError, match="infinite, not a number"):
        load_start(tmp_path / "alone.weights", network_of(info))
