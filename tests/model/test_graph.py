"""Compare Darknet graphs in torch with the same graphs in ONNX and with the named networks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lookonce.config import TrainSettings
from lookonce.darknet.cfg import parse_cfg, read_cfg
from lookonce.darknet.classic import classic_cfg
from lookonce.darknet.described import describe, network_of
from lookonce.darknet.heads import with_heads
from lookonce.darknet.network import Network
from lookonce.darknet.onnx_graph import build_onnx
from lookonce.darknet.resolve import resolve
from lookonce.darknet.weights import ConvWeights
from lookonce.data.assign import assign, join
from lookonce.errors import ModelFileError
from lookonce.metadata import ModelInfo
from lookonce.model.backend import TorchBackend
from lookonce.model.blocks import fold_batch_norm
from lookonce.model.darknet_io import fill, load_darknet, save_darknet
from lookonce.model.decode import decode
from lookonce.model.files import load_model, save_model
from lookonce.model.graph import DarknetGraph
from lookonce.model.network import build, to_input
from lookonce.networks import NETWORKS
from lookonce.train.loss import compute_losses
from tests.darknet.kinds import KINDS, UNREAD, conv, head, kind, net, noise, to_16
from tests.darknet.oracle import lookonce_outputs, random_weights, relative_error
from tests.model.test_darknet_io import described

NAMES = ("cat", "dog")


def filled(network: Network) -> tuple[DarknetGraph, list[ConvWeights]]:
    graph, weights = DarknetGraph(network), random_weights(network)
    fill(graph, weights)
    return graph.eval(), weights


def maps_of(graph: torch.nn.Module, images: np.ndarray) -> list[torch.Tensor]:
    with torch.inference_mode():
        return list(graph(to_input(torch.from_numpy(images).permute(0, 3, 1, 2))))


@pytest.mark.parametrize("name", KINDS)
def test_torch_and_onnx_give_the_same_maps_and_candidates(name: str) -> None:
    network = kind(name)
    graph, weights = filled(network)

    maps = maps_of(graph, noise())

    candidates, expected = lookonce_outputs(network, weights, noise())
    for ours, onnx, decoding in zip(maps, expected, network.decodings, strict=True):
        found = torch.sigmoid(ours) if decoding.form == "new_coords" else ours
        assert found.std() > 0.01
        assert relative_error(found.numpy(), onnx) < 1e-5
    info = describe(network, NAMES)
    decoded = decode(maps, info.anchors, info.strides, network.decodings).numpy()
    np.testing.assert_allclose(candidates, decoded, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("architecture", NETWORKS)
def test_the_readable_networks_equal_their_graph(architecture: str) -> None:
    info = described(architecture)
    network = resolve(parse_cfg(classic_cfg(info), "x.cfg"))
    graph, weights = filled(network)
    readable = build(info)
    fill(readable, weights)
    for theirs, ours in zip(maps_of(readable.eval(), noise()), maps_of(graph, noise()), strict=True):
        assert torch.equal(theirs, ours) or relative_error(theirs.numpy(), ours.numpy()) < 1e-6


def one_step(network: Network, images: int = 2) -> tuple[float, DarknetGraph]:
    """Run one step from initial weights; return its loss, and the network with its gradients."""
    torch.manual_seed(0)
    graph = DarknetGraph(network).train()
    height, width = network.cfg.net.height, network.cfg.net.width
    boxes = np.array([[4, 6, 40, 50], [30, 10, 60, 60]], np.float32)
    info = describe(network, tuple(map(str, range(network.classes))))
    each = assign(boxes, np.array([0, 1]), info.anchors, info.strides, (height, width))
    positives = join([each] * images).each(torch.from_numpy)
    truth = torch.from_numpy(np.stack([boxes] * images))
    maps = graph(torch.rand(images, 3, height, width))
    settings = TrainSettings().loss
    losses = compute_losses(
        maps, positives, truth, info.anchors, info.strides, settings, decodings=network.decodings
    )
    losses.total().backward()
    return losses.total().item(), graph


def assert_trains(network: Network) -> None:
    loss, graph = one_step(network)
    assert np.isfinite(loss)
    assert loss > 0
    without = [
        name
        for name, each in graph.named_parameters()
        if each.requires_grad and (each.grad is None or not each.grad.isfinite().all() or not each.grad.any())
    ]
    assert not without


@pytest.mark.parametrize("name", KINDS)
def test_gradients_reach_every_parameter(name: str) -> None:
    network = kind(name)
    assert_trains(network)
    _, graph = one_step(network)
    still = {int(name.split(".")[1]) for name, each in graph.named_parameters() if not each.requires_grad}
    assert still == UNREAD.get(name, set())


SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "darknet"
PUBLISHED = sorted(SHARED.rglob("*.cfg"))
NOT_READ = (
    "cspx-p7-mish_hp", "yolo9000", "yolov3-tiny_occlusion_track",
)  # fmt: skip


def for_two_classes(file: Path | None) -> Network:
    """Return the network of a published `.cfg` at a small size; skip the test if it cannot be read."""
    if file is None:
        pytest.skip("needs the collection of published .cfg files, which the repository does not hold")
    if file.stem in NOT_READ:
        with pytest.raises(ModelFileError):
            read_cfg(file)
        pytest.skip("lookonce refuses this network")
    coarsest = max(scale.stride for scale in resolve(read_cfg(file)).scales)
    side = 2 * max(32, coarsest)
    return with_heads(read_cfg(file), 2, (side, side))


@pytest.mark.slow
@pytest.mark.parametrize("file", PUBLISHED or [None], ids=lambda file: file.stem if file else "none")
def test_published_networks_can_be_trained(file: Path | None) -> None:
    assert_trains(for_two_classes(file))


@pytest.mark.slow
@pytest.mark.parametrize("file", PUBLISHED or [None], ids=lambda file: file.stem if file else "none")
def test_published_networks_keep_every_bit_as_darknet_files(tmp_path: Path, file: Path | None) -> None:
    info = describe(for_two_classes(file), NAMES)
    network = build(info)
    save_darknet(tmp_path / "model.cfg", network, info)
    back, back_info = load_darknet(tmp_path / "model.cfg")
    assert back_info == replace(info, cfg=back_info.cfg)
    for name, tensor in network.state_dict().items():
        if "num_batches" not in name:
            assert torch.equal(back.state_dict()[name], tensor), name


@pytest.mark.parametrize("name", KINDS)
def test_files_keep_every_bit(tmp_path: Path, name: str) -> None:
    network = kind(name)
    info = describe(network, NAMES)
    graph, _ = filled(network)

    save_model(tmp_path / "model.safetensors", graph.state_dict(), info)
    loaded, loaded_info = load_model(tmp_path / "model.safetensors")
    save_darknet(tmp_path / "model.cfg", loaded, loaded_info)
    back, back_info = load_darknet(tmp_path / "model.cfg")

    assert loaded_info == info
    assert back_info == replace(info, cfg=back_info.cfg)
    for tensor_name, tensor in graph.state_dict().items():
        if "num_batches" not in tensor_name:
            assert torch.equal(back.state_dict()[tensor_name], tensor), tensor_name


def test_folding_batch_norm_does_not_change_the_maps() -> None:
    graph, _ = filled(kind("trident"))
    before = maps_of(graph, noise())
    fold_batch_norm(graph)
    assert not any(isinstance(each, torch.nn.BatchNorm2d) for each in graph.modules())
    for ours, expected in zip(maps_of(graph, noise()), before, strict=True):
        assert relative_error(ours.numpy(), expected.numpy()) < 1e-5


@pytest.mark.parametrize(("size", "stride", "exact"), [(3, 2, True), (5, 1, True), (3, 1, False)])
def test_strided_and_large_depthwise_convolutions_compute_in_float32(
    size: int, stride: int, exact: bool
) -> None:
    sizes = f"size={size}\nstride={stride}\npad=1\n"
    depthwise = f"[convolutional]\nfilters=3\ngroups=3\n{sizes}activation=linear\n"
    graph = DarknetGraph(resolve(parse_cfg(net() + depthwise + to_16() + head(32), "some.cfg")))
    layer, section = graph.layers["0"], graph.network.layers[0].section
    images = torch.rand(2, 3, 32, 32).bfloat16()

    def maps_and_gradient(given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = layer(given, section)
        (gradient,) = torch.autograd.grad(maps.float().sum(), [layer.conv.weight])
        return maps, gradient

    maps, gradient = maps_and_gradient(images.float())
    with torch.autocast("cpu", torch.bfloat16):
        narrow, narrow_gradient = maps_and_gradient(images)
    assert narrow.dtype == torch.bfloat16
    torch.testing.assert_close(narrow, maps.bfloat16(), rtol=0.02, atol=0.02)
    # the gradient is a sum over inputs, which float32 computes exactly alike and bfloat16 rounds
    assert torch.equal(narrow_gradient, gradient) is exact


def test_one_cell_of_one_image_is_normalized_by_the_running_statistics() -> None:
    """As in an epoch whose last batch has a single image."""
    squeezed = "[avgpool]\n" + conv(8) + "[scale_channels]\nfrom=-3\n"
    graph = DarknetGraph(resolve(parse_cfg(net() + to_16() + squeezed + head(16), "x.cfg"))).train()
    at = [type(layer.section).__name__ for layer in graph.network.layers].index("AvgPool") + 1
    norm = graph.get_submodule(f"layers.{at}.bn")
    assert isinstance(norm, torch.nn.BatchNorm2d)
    (maps,) = graph(torch.rand(1, 3, 96, 64))
    maps.sum().backward()
    assert norm.num_batches_tracked == 0
    assert norm.weight.grad is not None
    assert torch.isfinite(maps).all()
    graph(torch.rand(2, 3, 96, 64))
    assert norm.num_batches_tracked == 1


def test_any_multiple_of_the_stride_is_a_valid_size() -> None:
    network = kind("csp")
    graph, weights = filled(network)
    images = noise(2, (64, 128))
    info = describe(network, NAMES)
    model = build_onnx(network, weights, info)
    assert model.metadata_props[0].value == info.to_json()
    found = TorchBackend(graph, info)(images)
    expected, _ = lookonce_outputs(network, weights, images)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_a_head_of_probabilities_cannot_be_trained() -> None:
    text = KINDS["csp"].replace("activation=logistic", "activation=linear")
    network = resolve(parse_cfg(text, "x.cfg"))
    with pytest.raises(ModelFileError, match=r"x\.cfg:\d+: \[yolo\] with new_coords=1: expected .*logistic"):
        DarknetGraph(network)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cfg": ""}, "darknet with its .cfg, found 'darknet'"),
        ({"cfg": "[net]\nwidth=64"}, "its .cfg: expected 1 to"),
        ({"names": ("one",)}, "expected the anchors, strides and classes of its .cfg"),
        ({"anchors": (((10.0, 13.0),),)}, "expected the anchors, strides and classes of its .cfg"),
        ({"strides": (32,)}, "expected the anchors, strides and classes of its .cfg"),
        ({"input_size": (90, 64)}, "its .cfg"),
        ({"architecture": "resnet"}, "expected one of the architectures yolov3, .*found 'resnet'"),
    ],
)
def test_a_description_that_contradicts_itself_is_refused(change: dict[str, object], message: str) -> None:
    info: ModelInfo = replace(describe(kind("prn"), NAMES), **change)  # type: ignore[arg-type]
    with pytest.raises(ModelFileError, match=message):
        network_of(info)


def test_a_model_file_with_the_cfg_of_another_is_refused(tmp_path: Path) -> None:
    info = describe(kind("prn"), NAMES)
    other = replace(describe(kind("gaussian"), NAMES), training={"epoch": 3})
    save_model(tmp_path / "model.safetensors", build(info).state_dict(), other)
    with pytest.raises(ModelFileError, match=r"model\.safetensors: the weights do not fit"):
        load_model(tmp_path / "model.safetensors")
