"""The drawing of a network: layers gathered into blocks, and each layer's arithmetic with its numbers.

Legend: **H**, **W** height and width of an output.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lookonce.explain.records import NetworkLayer

IMAGE = -1
COLUMNS = ("backbone", "neck", "head")


@dataclass(frozen=True, slots=True)
class Block:
    """Layers of one part and one resolution that follow each other; from outside only its last one is read.

    Attributes:
        part: the column of the drawing it stands in: `backbone`, `neck` or `head`.
        layers: their numbers, in order.
        inputs: the layers outside that it reads, by number; -1 is the image.
    """

    part: str
    layers: tuple[int, ...]
    inputs: tuple[int, ...]


def blocks_of(layers: Sequence[NetworkLayer]) -> tuple[Block, ...]:
    """All layers, each in one block, in the order of the network."""
    readers = _readers(layers)
    groups = [part for group in _chains(layers) for part in _cut(group, readers)]
    return tuple(_block(layers, group) for group in _with_heads(layers, groups, readers))


def _readers(layers: Sequence[NetworkLayer]) -> dict[int, list[int]]:
    """Layer number -> numbers of the layers that read it."""
    readers: dict[int, list[int]] = {layer.index: [] for layer in layers}
    for layer in layers:
        for source in layer.inputs:
            if source != IMAGE:
                readers[source].append(layer.index)
    return readers


def _chains(layers: Sequence[NetworkLayer]) -> list[list[int]]:
    """Layers of one part and resolution that follow each other and read each other."""
    chains = list[list[int]]()
    for layer in layers:
        last = layers[chains[-1][-1]] if chains else layer
        alike = last.part == layer.part and last.shape[1:] == layer.shape[1:]
        if chains and alike and set(layer.inputs) & set(chains[-1]):
            chains[-1].append(layer.index)
        else:
            chains.append([layer.index])
    return chains


def _cut(chain: list[int], readers: dict[int, list[int]]) -> Iterator[list[int]]:
    """Cut behind each layer that is read from outside, so that an edge of the drawing is a block's output."""
    inside, part = set(chain), list[int]()
    for index in chain:
        part.append(index)
        if index == chain[-1] or not set(readers[index]) <= inside:
            yield part
            part = []


def _with_heads(
    layers: Sequence[NetworkLayer], groups: list[list[int]], readers: dict[int, list[int]]
) -> Iterator[list[int]]:
    """Put a lone layer that only a head reads to that head: it is the head's own."""
    waiting: list[int] = []
    for group in groups:
        read_by = readers[group[-1]]
        lone = len(group) == 1 and layers[group[0]].part == "neck"
        if lone and [layers[reader].part for reader in read_by] == ["head"]:
            waiting = group
            continue
        yield waiting + group
        waiting = []


def _block(layers: Sequence[NetworkLayer], group: list[int]) -> Block:
    inside = set(group)
    sources = dict.fromkeys(
        source for index in group for source in layers[index].inputs if source not in inside
    )
    return Block(layers[group[-1]].part, tuple(group), tuple(sources))


_CONVOLUTION = re.compile(
    r"(?P<size>\d+)x\d+(?: / (?P<stride>\d+))?, (?P<filters>\d+) filters(?:, (?P<groups>\d+) groups)?"
)


def arithmetic(
    layer: NetworkLayer, layers: Sequence[NetworkLayer], image: tuple[int, int, int]
) -> tuple[str, ...]:
    """What a layer computes, with its numbers: one line each; empty for one that computes nothing.

    Args:
        layer: of these.
        layers: all.
        image: (C, H, W) of the network's input.
    """
    shapes = [image if source == IMAGE else layers[source].shape for source in layer.inputs]
    if layer.kind == "convolutional":
        return tuple(_convolution(layer, shapes[0]))
    if layer.kind == "shortcut":
        return (f"y = {' + '.join(f'output of {source}' for source in layer.inputs)}, element by element",)
    if layer.kind == "route" and len(shapes) > 1:
        channels = " + ".join(str(shape[0]) for shape in shapes)
        return (f"channels: {channels} = {layer.shape[0]}, one behind the other",)
    if layer.kind == "upsample":
        factor = layer.shape[1] // shapes[0][1]
        return (
            f"each cell is repeated {factor} x {factor} times: {_sides(shapes[0])} -> {_sides(layer.shape)}",
        )
    return ()


def _convolution(layer: NetworkLayer, source: tuple[int, int, int]) -> Iterator[str]:
    found = _CONVOLUTION.match(layer.detail)
    assert found is not None
    size, filters = int(found["size"]), int(found["filters"])
    stride, groups = int(found["stride"] or 1), int(found["groups"] or 1)
    pad, (channels, height, width) = size // 2, source
    yield (
        f"height: ({height} + 2 * {pad} - {size}) // {stride} + 1 = {layer.shape[1]}, "
        f"width: ({width} + 2 * {pad} - {size}) // {stride} + 1 = {layer.shape[2]}"
    )
    kernel = f"{filters} * {channels if groups == 1 else f'({channels} / {groups})'} * {size} * {size}"
    norm = "batch norm" in layer.detail
    vectors = f"4 * {filters} of batch normalisation" if norm else f"{filters} biases"
    yield f"parameters: {kernel} + {vectors} = {layer.parameters:,}"
    yield f"multiply-adds: {layer.shape[1]} * {layer.shape[2]} * {kernel} = {layer.multiply_adds:,}"


def _sides(shape: tuple[int, int, int]) -> str:
    return f"{shape[1]} x {shape[2]}"
