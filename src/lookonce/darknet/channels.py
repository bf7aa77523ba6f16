"""Remove channels from a network: channels that belong together, their cost, and the smaller network.

Channels that are added or multiplied element by element can only be removed together. The same is true of
the input and output channels of a depthwise convolution, and of the corresponding channels of each part if a
layer splits its input into equal parts. A *bundle* is a minimal set of such channels. Removing it gives the
same maps as setting its channels to 0.

    convolution 4 ─┬─► convolution 5 ─► convolution 6 ─► [shortcut] 7    one bundle: channel c of 4 and of 6
                   └──────────────────────────────────────────▲
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookonce._disjoint_sets import DisjointSets
from lookonce.darknet.cfg import typed
from lookonce.darknet.heads import sections_of
from lookonce.darknet.network import IMAGE, Layer, Network
from lookonce.darknet.resolve import resolve
from lookonce.darknet.sections import (
    Contrastive,
    Convolutional,
    Reorg,
    Route,
    Sam,
    ScaleChannels,
    Shortcut,
    Yolo,
)
from lookonce.darknet.weights import BatchNorm, ConvWeights

Channel = tuple[int, int]  # layer of a convolution, and channel of its output
KEPT = 0.25  # smallest share of its channels that a layer keeps (benchmarks/slim.md)
NOT_ZERO = ("logistic",)  # activations that are not 0 at 0, after which a removed channel would not be 0


@dataclass(frozen=True, slots=True)
class Bundle:
    """Channels that can only be removed together.

    Attributes:
        channels: output channels of convolutions.
        made: (layer, number of its output channels in the bundle) for each convolution with any.
        read: (layer, number of its input channels in the bundle) for each convolution with any.
    """

    channels: tuple[Channel, ...]
    made: tuple[tuple[int, int], ...]
    read: tuple[tuple[int, int], ...]


class Channels:
    """The channels of a network, grouped into bundles.

    Attributes:
        network: network.
        bundles: removable bundles, which excludes the channels of the image and of raw maps.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._sets = DisjointSets()
        self._fixed: set[int] = set()
        self._outputs = {IMAGE: self._sets.add(network.cfg.net.channels)}
        self._fixed |= {*self._outputs[IMAGE]}
        for layer in network.layers:
            self._outputs[layer.index] = self._output(layer)
        fixed = {self._sets.root(channel) for channel in self._fixed}
        members: dict[int, list[Channel]] = {}
        reads: dict[int, Counter[int]] = {}
        for layer in network.layers:
            if isinstance(layer.section, Convolutional):
                for number, channel in enumerate(self._outputs[layer.index]):
                    members.setdefault(self._sets.root(channel), []).append((layer.index, number))
                for channel in self._outputs[layer.sources[0]]:
                    reads.setdefault(self._sets.root(channel), Counter())[layer.index] += 1
        self._number = {root: i for i, root in enumerate(root for root in members if root not in fixed)}
        self.bundles = tuple(
            Bundle(
                tuple(members[root]),
                tuple(sorted(Counter(layer for layer, _ in members[root]).items())),
                tuple(sorted(reads.get(root, Counter()).items())),
            )
            for root in self._number
        )

    def keep(self, source: int, removed: Collection[int]) -> NDArray[np.bool_]:
        """Return a mask (C,) of the channels of a layer's output that are kept.

        Args:
            source: number of the layer; `IMAGE` for the image.
            removed: indices of the bundles to remove.
        """
        numbers = (self._number.get(self._sets.root(channel)) for channel in self._outputs[source])
        return np.array([number not in removed for number in numbers], bool)

    def _unite(self, some: Iterable[int], others: Iterable[int]) -> None:
        for one, other in zip(some, others, strict=False):
            self._sets.join(one, other)

    def _unite_parts(self, channels: list[int], parts: int) -> None:
        """Unite the channels at the same position in each of `parts` equal parts."""
        size = len(channels) // parts
        for start in range(size, len(channels), size):
            self._unite(channels[:size], channels[start : start + size])

    def _output(self, layer: Layer) -> list[int]:
        """Return the channels of a layer's output, and unite channels that belong together."""
        inputs = [self._outputs[source] for source in layer.sources]
        first = inputs[0]
        match layer.section:
            case Convolutional(filters, groups=groups, xnor=xnor):
                self._fixed |= set(first) if xnor else set()  # xnor turns 0 into -1
                made = self._sets.add(filters)
                if groups == len(first) > 1:
                    per_input = filters // groups
                    self._unite((first[i // per_input] for i in range(filters)), made)
                elif groups > 1:
                    self._unite_parts(first, groups)
                    self._unite_parts(made, groups)
                if (owner := self.network.shared.get(layer.index)) is not None:
                    self._unite(self._outputs[self.network.layers[owner].sources[0]], first)
                    self._unite(self._outputs[owner], made)
                return made
            case Shortcut(_, activation):
                for other in inputs[1:]:
                    self._unite(first, other)
                self._fixed |= set(first) if activation in NOT_ZERO else set()
            case Sam(_, activation) | ScaleChannels(_, activation):
                if len(first) == len(inputs[1]):
                    self._unite(first, inputs[1])
                else:  # a factor for each cell
                    self._fixed |= set(first)
                self._fixed |= set(inputs[1]) if activation in NOT_ZERO else set()
                return inputs[1]
            case Route(_, groups, group_id):
                joined: list[int] = []
                for each in inputs:
                    self._unite_parts(each, groups)
                    size = len(each) // groups
                    joined += each[size * group_id : size * (group_id + 1)]
                return joined
            case Reorg(stride, scrambled):
                if not scrambled:
                    return first * stride**2
                self._fixed |= set(first)  # Darknet's mistake mixes channels and cells
                made = self._sets.add(len(first) * stride**2)
                self._fixed |= set(made)
                return made
            case Yolo() | Contrastive():
                self._fixed |= set(first)
        return first


class Cost:
    """Number of multiplications per image, updated as bundles are removed.

    Attributes:
        made: number of output channels of each convolution, by layer.
        read: number of input channels of each convolution, by layer.
    """

    def __init__(self, network: Network) -> None:
        self.made: dict[int, int] = {}
        self.read: dict[int, int] = {}
        self._per_pair: dict[int, float] = {}
        self._depthwise: set[int] = set()
        for layer in network.layers:
            if isinstance(section := layer.section, Convolutional):
                read = network.shape(layer.sources[0]).channels
                self.made[layer.index], self.read[layer.index] = section.filters, read
                places = layer.shape.height * layer.shape.width
                if section.groups == read > 1:
                    self._depthwise.add(layer.index)
                    self._per_pair[layer.index] = places * section.size**2
                else:
                    self._per_pair[layer.index] = places * section.size**2 / section.groups

    def of(self, layers: Iterable[int], less: Bundle | None = None, times: int = 1) -> float:
        """Return the multiplications of some convolutions after removing `times` bundles like `less`."""
        made, read = (dict(less.made), dict(less.read)) if less else ({}, {})
        total = 0.0
        for layer in layers:
            outputs = self.made[layer] - times * made.get(layer, 0)
            inputs = 1 if layer in self._depthwise else self.read[layer] - times * read.get(layer, 0)
            total += self._per_pair[layer] * outputs * inputs
        return total

    def saved(self, bundle: Bundle, times: int = 1) -> float:
        """Return the multiplications saved by removing `times` bundles such as `bundle`."""
        layers = {layer for layer, _ in (*bundle.made, *bundle.read)}
        return self.of(layers) - self.of(layers, bundle, times)

    def remove(self, bundle: Bundle, times: int = 1) -> None:
        """Subtract the channels of `times` bundles such as `bundle`."""
        for counts, less in ((self.made, bundle.made), (self.read, bundle.read)):
            for layer, number in less:
                counts[layer] -= times * number

    @property
    def total(self) -> float:
        """Return the multiplications of all convolutions."""
        return self.of(self.made)


def choose(channels: Channels, importance: Sequence[float], share: float, step: int) -> set[int]:
    """Choose bundles to remove until a given share of the multiplications is left.

    Bundles of the same layers are removed in steps, the least important first. Each step is the one that
    loses the least importance per multiplication saved. If possible, numbers of channels stay multiples of
    `step`, because engines compute blocks of channels at once.

    Args:
        channels: channels of the network.
        importance: importance of each bundle.
        share: target share of the multiplications.
        step: number of bundles to remove per step. At least as many of the same layers remain, or a quarter
            of them if that is more.

    Returns:
        Indices of bundles; too few for the target if all layers are at their minimum.
    """
    cost, removed = Cost(channels.network), set[int]()
    wanted = share * cost.total
    alike: dict[object, list[int]] = {}
    for number, bundle in enumerate(channels.bundles):
        alike.setdefault((bundle.made, bundle.read), []).append(number)
    for numbers in alike.values():
        numbers.sort(key=lambda number: importance[number])
    floors = {key: max(step, int(KEPT * len(numbers))) for key, numbers in alike.items()}
    now = cost.total
    while now > wanted:
        best: tuple[float, object, int, float] | None = None
        for key, numbers in alike.items():
            count = len(numbers) % step or step
            if len(numbers) - count < floors[key]:
                continue
            saved = cost.saved(channels.bundles[numbers[0]], count)
            lost = sum(importance[number] for number in numbers[:count])
            if saved > 0 and (best is None or lost / saved < best[0]):
                best = lost / saved, key, count, saved
        if best is None:
            break
        _, key, count, saved = best
        cost.remove(channels.bundles[alike[key][0]], count)
        removed |= set(alike[key][:count])
        alike[key] = alike[key][count:]
        now -= saved
    return removed


def without(
    channels: Channels, weights: Sequence[ConvWeights], removed: Collection[int]
) -> tuple[Network, list[ConvWeights]]:
    """Return the network without some bundles, and its weights.

    Args:
        channels: channels of the network.
        weights: weights of the network's convolutions, in file order.
        removed: indices of the bundles to remove.
    """
    network = channels.network
    kept = {source: channels.keep(source, removed) for source in (IMAGE, *range(len(network.layers)))}
    sections = sections_of(network.cfg)
    for layer in network.layers:
        if isinstance(layer.section, Convolutional):
            sections[1 + layer.index].set("filters", int(kept[layer.index].sum()))
            read = kept[layer.sources[0]]
            if layer.section.groups == len(read) > 1:
                sections[1 + layer.index].set("groups", int(read.sum()))
    slimmed = []
    for spec, each in zip(network.convolutions, weights, strict=True):
        out, read = kept[spec.layer], kept[network.layers[spec.layer].sources[0]]
        inputs = read[: spec.kernel_shape[1]] if spec.groups < spec.channels else np.ones(1, bool)
        kernel, norm = np.ascontiguousarray(each.kernel[:, inputs][out]), each.batch_norm
        if norm is not None:
            norm = BatchNorm(norm.gamma[out], norm.mean[out], norm.variance[out])
        slimmed.append(ConvWeights(kernel, each.bias[out], norm))
    return resolve(typed(sections, network.cfg.file)), slimmed
