"""Test slimming: the removed channels, the training of the rest, and the comparison at the end."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lookonce.config import TrainSettings
from lookonce.darknet.cfg import parse_cfg
from lookonce.darknet.channels import Channels, Cost
from lookonce.darknet.classic import classic_cfg
from lookonce.darknet.described import describe, network_of
from lookonce.darknet.heads import with_heads
from lookonce.darknet.network import Network
from lookonce.darknet.resolve import resolve
from lookonce.data.loader import Loader
from lookonce.errors import ConfigError
from lookonce.gate import Times
from lookonce.model.darknet_io import arrays_of, fill
from lookonce.model.graph import DarknetGraph
from lookonce.model.network import build
from lookonce.networks import model_path
from lookonce.recipe import load_settings
from lookonce.runtime.cpu import Cpu
from lookonce.train import slim
from lookonce.train.imitate import Teacher
from lookonce.train.learner import Learner, forward
from lookonce.train.loss import Losses
from lookonce.train.setup import TrainData, make_dataset
from lookonce.train.slim import Parent, check_start, importance_of, read_parent, same_classes, save_start
from tests.darknet.kinds import kind
from tests.darknet.oracle import random_weights
from tests.data.drawn_samples import INFO, draw_samples

QUICK = ("size=64x96", "batch=3", "workers=0")


def parent_of(network: Network) -> Parent:
    info = replace(describe(network, INFO.names), input_size=(64, 96), fit="letterbox")
    network = network_of(info)
    return Parent(network, random_weights(network), info)


def three_classes(name: str = "tiny") -> Network:
    return with_heads(kind(name).cfg, len(INFO.names), (64, 96))


@pytest.fixture
def data(tmp_path: Path) -> TrainData:
    samples = draw_samples(tmp_path, 7)
    return TrainData(INFO.names, samples, samples[:4])


def settings(*assignments: str) -> TrainSettings:
    return load_settings(None, (*QUICK, *assignments))


@pytest.mark.parametrize("name", ["tiny", "prn", "mobilenet"])
def test_importance_is_the_derivative_by_a_channel_factor(
    data: TrainData, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slim, "IMAGES", 1)  # one batch
    parent = parent_of(three_classes(name))
    channels, chosen = Channels(parent.network), settings("precision=float32")
    found = importance_of(channels, parent, data, chosen)

    graph = DarknetGraph(parent.network).eval()
    fill(graph, parent.weights)
    with Loader(make_dataset(data, parent.info, chosen), 3, 0) as loader:
        batch = next(batch for step in loader.steps(0) for batch in step)
    bundle, factor = int(np.argmax(found)), torch.ones((), requires_grad=True)
    for layer, number in channels.bundles[bundle].channels:

        def scaled(
            _module: object, _inputs: object, output: torch.Tensor, number: int = number
        ) -> torch.Tensor:
            chosen = torch.arange(output.shape[1]).view(1, -1, 1, 1) == number
            return torch.where(chosen, output * factor, output)

        graph.get_submodule(f"layers.{layer}.bn").register_forward_hook(scaled)
    forward(graph, batch, parent.info, chosen).total().backward()
    assert factor.grad is not None
    assert found[bundle] == pytest.approx(float(factor.grad) ** 2, rel=1e-3)


def test_a_channel_without_effect_has_no_importance(data: TrainData) -> None:
    parent = parent_of(three_classes())
    parent.weights[4].batch_norm.gamma[3] = 0  # type: ignore[union-attr]
    parent.weights[4].bias[3] = 0
    channels = Channels(parent.network)
    found = importance_of(channels, parent, data, settings())
    silent = next(i for i, each in enumerate(channels.bundles) if each.channels[0] == (4, 3))
    assert found[silent] == 0
    assert np.count_nonzero(found == 0) < 3


def test_the_measured_time_decides_how_many_channels_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    info = replace(INFO, architecture="yolov3-tiny", width=0.25)
    parent = parent_of(resolve(parse_cfg(classic_cfg(info), "x.cfg")))
    channels = Channels(parent.network)
    importance = np.random.default_rng(0).random(len(channels.bundles)).tolist()
    shares: list[float] = []

    def half_is_overhead(*_: object) -> Times:
        after = 5 + 5 * shares[-1]
        return Times(10.0, after)

    def counted(network: Network) -> Cost:
        shares.append(Cost(network).total / whole)
        return Cost(network)

    whole = Cost(parent.network).total
    monkeypatch.setattr(slim, "this_cpu", lambda: Cpu("AVX2", ("avx2",), 1))
    monkeypatch.setattr(slim, "Cost", counted)
    monkeypatch.setattr(slim, "time_both", half_is_overhead)
    made = slim.slim(channels, parent, importance, 1.5)
    assert made.times.speed_up >= 1.5 * 0.97
    assert made.share < 0.4  # 1.5 times as fast needs a third of the multiplications, not two thirds


def test_on_a_cpu_that_computes_16_channels_at_once_layers_keep_multiples_of_16(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parent = parent_of(resolve(parse_cfg(classic_cfg(replace(INFO, architecture="yolov3-tiny")), "x.cfg")))
    channels = Channels(parent.network)
    importance = np.random.default_rng(0).random(len(channels.bundles)).tolist()
    monkeypatch.setattr(slim, "this_cpu", lambda: Cpu("AVX-512", ("avx2", "avx512f"), 1))
    monkeypatch.setattr(slim, "time_both", lambda *_: Times(3.0, 1.0))
    network = slim.slim(channels, parent, importance, 2).model.network
    heads = {scale.source for scale in network.scales}
    kept = [spec.filters for spec in network.convolutions if spec.layer not in heads]
    assert all(count % 16 == 0 for count in kept)
    assert sum(kept) < sum(spec.filters for spec in parent.network.convolutions if spec.layer not in heads)


def test_the_start_file_is_a_model(tmp_path: Path) -> None:
    parent = parent_of(three_classes("v4-tiny"))
    save_start(tmp_path / "start.safetensors", parent, parent, 2)
    read, network = read_parent(tmp_path / "start.safetensors")
    assert read.info == parent.info
    for mine, theirs in zip(arrays_of(network), parent.weights, strict=True):
        np.testing.assert_array_equal(mine.kernel, theirs.kernel)


def test_a_learner_adds_the_loss_of_the_teacher(data: TrainData) -> None:
    parent = parent_of(three_classes())
    graph, teacher = build(parent.info), build(parent.info)
    fill(graph, parent.weights)
    fill(teacher, [replace(each, bias=each.bias + 0.5) for each in parent.weights])
    chosen = settings("precision=float32")
    alone, taught = (
        Learner(graph, parent.info, chosen),
        Learner(graph, parent.info, chosen, teacher=Teacher(teacher)),
    )
    with Loader(make_dataset(data, parent.info, chosen), 3, 0) as loader:
        batch = next(batch for step in loader.steps(0) for batch in step)
    graph.eval()
    first, second = alone.losses(batch), taught.losses(batch)
    assert (second.per_image() > first.per_image()).all()
    assert all(each.grad is None for each in teacher.parameters())


def test_losses_are_summed() -> None:
    one, two = (Losses(*(torch.full((2,), float(x + i)) for i in range(3))) for x in (1, 10))
    assert Losses.sum([one, two]).prob.tolist() == [15, 15]


def test_classes_are_renumbered_to_those_of_the_model(data: TrainData) -> None:
    other = INFO.names[::-1]
    last = len(other) - 1
    turned = [replace(sample, labels=last - sample.labels) for sample in data.train]
    found = same_classes(TrainData(other, turned, turned), INFO, Path("m"))
    for sample, wanted in zip(found.train, data.train, strict=True):
        np.testing.assert_array_equal(sample.labels, wanted.labels)


def test_classes_are_matched_by_their_usual_aliases(data: TrainData) -> None:
    """Some classes of COCO have other names in VOC and in Darknet's lists."""
    info = replace(INFO, names=("sofa", "tvmonitor", "ring"))
    found = same_classes(replace(data, names=("couch", "tv", "ring")), info, Path("m"))
    assert found.names == info.names
    for sample, wanted in zip(found.train, data.train, strict=True):
        np.testing.assert_array_equal(sample.labels, wanted.labels)


def test_other_classes_and_no_validation_are_refused(data: TrainData) -> None:
    with pytest.raises(ConfigError, match="expected the classes of m, found data without ring and with box"):
        same_classes(replace(data, names=("disc", "bar", "box")), INFO, Path("m"))
    with pytest.raises(ConfigError, match="expected the classes of coco, found data without person"):
        same_classes(data, replace(INFO, names=("person",)), model_path("coco"))
    with pytest.raises(ConfigError, match="expected validation images"):
        same_classes(replace(data, val=[]), INFO, Path("m"))


def test_a_run_is_resumed_with_its_original_model(tmp_path: Path) -> None:
    parent = parent_of(three_classes())
    with pytest.raises(ConfigError, match="nothing to resume: expected start"):
        check_start(tmp_path / "start.safetensors", parent, Path("m"))
    save_start(tmp_path / "start.safetensors", parent, parent, 3.5)
    assert check_start(tmp_path / "start.safetensors", parent, Path("m")) == 3.5
    assert check_start(tmp_path / "start.safetensors", parent, Path("m"), 3.5) == 3.5
    with pytest.raises(ConfigError, match=r"^faster: expected 3\.5, .*, found 2"):
        check_start(tmp_path / "start.safetensors", parent, Path("m"), 2)
    empty = replace(parent, weights=[replace(each, kernel=each.kernel * 0) for each in parent.weights])
    with pytest.raises(ConfigError, match="expected the model that the run began with, found m"):
        check_start(tmp_path / "start.safetensors", empty, Path("m"))
    with pytest.raises(ConfigError, match="expected the model that the run began with, found m"):
        check_start(tmp_path / "start.safetensors", parent_of(three_classes("csp")), Path("m"))
    (tmp_path / "start.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"start\.json: expected the parent and the speed"):
        check_start(tmp_path / "start.safetensors", parent, Path("m"))


def test_a_network_with_too_few_channels_is_refused() -> None:
    parent = parent_of(three_classes("prn"))
    channels = Channels(parent.network)
    with pytest.raises(ConfigError, match=r"^faster: expected channels to remove, found none for 2"):
        slim.slim(channels, parent, [1.0] * len(channels.bundles), 2)
