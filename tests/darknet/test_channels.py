"""Networks with fewer channels give the raw maps of the whole network with the removed channels set to 0."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lookonce.darknet.cfg import parse_cfg
from lookonce.darknet.channels import Channels, Cost, choose, without
from lookonce.darknet.classic import classic_cfg
from lookonce.darknet.network import Network
from lookonce.darknet.resolve import resolve
from lookonce.darknet.weights import ConvWeights
from lookonce.model.darknet_io import fill
from lookonce.model.graph import DarknetGraph
from lookonce.model.network import to_input
from lookonce.networks import NETWORKS
from tests.darknet.kinds import KINDS, conv, head, kind, net, noise, to_16
from tests.darknet.oracle import random_weights, relative_error
from tests.model.test_darknet_io import described

GROUPED = (  # groups of a convolution, and two output channels per input channel
    net() + to_16() + conv(16, 3, groups=4) + conv(8) + conv(16, 3, groups=8) + conv(8) + head(16)
)


def network_named(name: str) -> Network:
    if name in NETWORKS:
        return resolve(parse_cfg(classic_cfg(described(name)), "x.cfg"))
    return resolve(parse_cfg(GROUPED, "x.cfg")) if name == "grouped" else kind(name)


def half_tiny() -> Network:
    return resolve(parse_cfg(classic_cfg(replace(described("yolov3-tiny"), width=0.5)), "x.cfg"))


def some_of_each(channels: Channels, seed: int) -> set[int]:
    """Choose bundles at random, at most two thirds of those of the same layers."""
    rng, alike = np.random.default_rng(seed), dict[object, list[int]]()
    for number, bundle in enumerate(channels.bundles):
        alike.setdefault((bundle.made, bundle.read), []).append(number)
    chosen = (rng.permutation(each)[: rng.integers(0, 2 * len(each) // 3 + 1)] for each in alike.values())
    return {int(number) for numbers in chosen for number in numbers}


def maps_of(
    network: Network, weights: list[ConvWeights], masks: dict[int, np.ndarray] | None = None
) -> list[torch.Tensor]:
    graph = DarknetGraph(network)
    fill(graph, weights)
    for name, module in graph.layers.items() if masks else ():
        assert masks is not None
        mask = torch.from_numpy(masks[int(name)]).view(1, -1, 1, 1)
        module.register_forward_hook(lambda _module, _inputs, output, mask=mask: output * mask)
    with torch.inference_mode():
        return list(graph.eval()(to_input(torch.from_numpy(noise()).permute(0, 3, 1, 2))))


@pytest.mark.parametrize("name", [*KINDS, *NETWORKS, "grouped"])
def test_removing_channels_gives_the_maps_of_the_masked_network(name: str) -> None:
    network = network_named(name)
    weights, channels = random_weights(network), Channels(network)
    removed = some_of_each(channels, seed=3)
    assert removed or name == "gaussian"

    slim, fewer = without(channels, weights, removed)

    masks = {spec.layer: channels.keep(spec.layer, removed) for spec in network.convolutions}
    assert sum(spec.filters for spec in slim.convolutions) == sum(int(each.sum()) for each in masks.values())
    full = maps_of(network, weights)
    for found, masked, untouched in zip(
        maps_of(slim, fewer), maps_of(network, weights, masks), full, strict=True
    ):
        assert relative_error(found.numpy(), masked.numpy()) < 1e-5
        assert relative_error(found.numpy(), untouched.numpy()) > 1e-3


def test_channels_that_are_added_or_scaled_go_together() -> None:
    def together(name: str) -> set[tuple[int, ...]]:
        return {tuple(layer for layer, _ in each.channels) for each in Channels(kind(name)).bundles}

    # layers 5 and 7 are added to 3; channels that one of them lacks are bundled with the others only
    assert {(3, 4, 6), (3, 4), (4,)} <= together("prn")
    assert (3, 6) in together("enet")  # squeeze and excitation: layer 6 scales 3
    assert (4, 4) in together("v4-tiny")  # the halves of a route
    assert (4, 5) in together("mobilenet")  # a depth-wise convolution


def test_channels_of_image_raw_maps_and_reorg_are_kept() -> None:
    layers = {layer for each in Channels(kind("region")).bundles for layer, _ in each.channels}
    assert layers == {0, 1, 2, 4}  # 3 is the input of [reorg], 7 is the raw map


def test_the_cost_after_removals_equals_that_of_the_smaller_network() -> None:
    for name in ("tiny", "v4-tiny", "mobilenet", "enet", "prn", "trident"):
        network = kind(name)
        channels, cost = Channels(network), Cost(network)
        removed = some_of_each(channels, seed=1)
        for number in removed:
            cost.remove(channels.bundles[number])
        slim, _ = without(channels, random_weights(network), removed)
        assert cost.total == Cost(slim).total


@pytest.mark.parametrize("step", [8, 16])
def test_the_least_important_channels_are_removed_in_steps(step: int) -> None:
    network = half_tiny()
    channels = Channels(network)
    importance = np.random.default_rng(0).random(len(channels.bundles)).tolist()

    removed = choose(channels, importance, 0.4, step)

    slim, _ = without(channels, random_weights(network), removed)
    assert 0.3 < Cost(slim).total / Cost(network).total <= 0.4
    both = list(zip(network.convolutions, slim.convolutions, strict=True))
    assert all(after.filters % step == 0 or after.filters == before.filters for before, after in both)
    assert sum(after.filters < before.filters for before, after in both) > 5
    of_one = [i for i, each in enumerate(channels.bundles) if each.channels[0][0] == 12]
    worst = max(importance[i] for i in of_one if i in removed)
    assert worst <= min(importance[i] for i in of_one if i not in removed)


@pytest.mark.parametrize("step", [8, 16])
def test_no_layer_falls_below_its_minimum(step: int) -> None:
    network = half_tiny()
    channels = Channels(network)
    removed = choose(channels, [1.0] * len(channels.bundles), 0.0, step)
    slim, _ = without(channels, random_weights(network), removed)
    for before, after in zip(network.convolutions, slim.convolutions, strict=True):
        assert after.filters >= max(min(before.filters, step), before.filters // 4)
