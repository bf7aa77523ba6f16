"""Prepare the drawing of a network: group its layers into blocks, and write out each layer's arithmetic.

Legend: **C** channels, **H**, **W** height and width of an output.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lookonce.explain.records import NetworkLayer

IMAGE = -1


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive layers of the same part and resolution, of which other blocks only read the last.

    Attributes:
        part: column of the drawing: `backbone`, `neck` or `head`.
        layers: numbers of the layers, in order.
        inputs: numbers of the layers in other blocks that this block reads; -1 for the image.
    """

    part: str
    layers: tuple[int, ...]
    inputs: tuple[int, ...]


def blocks_of(layers: Sequence[NetworkLayer]) -> tuple[Block, ...]:
    """Group all layers into blocks, in the order of the network."""
    readers: dict[int, list[int]] = {layer.index: [] for layer in layers}
    chains: list[list[int]] = []  # consecutive layers of the same part and resolution, connected
    for layer in layers:
        for source in layer.inputs:
            if source != IMAGE:
                readers[source].append(layer.index)
        last = layers[chains[-1][-1]] if chains else layer
        alike = last.part == layer.part and last.shape[1:] == layer.shape[1:]
        if chains and alike and set(layer.inputs) & set(chains[-1]):
            chains[-1].append(layer.index)
        else:
            chains.append([layer.index])
    groups: list[list[int]] = []  # chains, cut after each layer that is read from outside its chain
    for chain in chains:
        groups.append([])
        for index in chain:
            groups[-1].append(index)
            if index != chain[-1] and not set(readers[index]) <= set(chain):
                groups.append([])
    blocks, own_of_head = list[Block](), list[int]()
    for group in groups:
        read_by = [layers[reader].part for reader in readers[group[-1]]]
        if len(group) == 1 and layers[group[0]].part == "neck" and read_by == ["head"]:
            own_of_head = group  # a single layer that only a head reads is drawn with the head
            continue
        whole, own_of_head = own_of_head + group, []
        inputs = dict.fromkeys(
            source for index in whole for source in layers[index].inputs if source not in whole
        )
        blocks.append(Block(layers[whole[-1]].part, tuple(whole), tuple(inputs)))
    return tuple(blocks)


def arithmetic(
    layer: NetworkLayer, layers: Sequence[NetworkLayer], image: tuple[int, int, int]
) -> tuple[str, ...]:
    """Write out the arithmetic of a layer, one formula per line; empty if there is none.

    Args:
        layer: one of `layers`.
        layers: all layers of the network.
        image: (C, H, W) of the network's input.
    """
    shapes = [image if source == IMAGE else layers[source].shape for source in layer.inputs]
    out_channels, out_height, out_width = layer.shape
    if layer.kind == "shortcut":
        return (f"y = {' + '.join(f'output of {source}' for source in layer.inputs)}, element by element",)
    if layer.kind == "route" and len(shapes) > 1:
        return (f"channels: {' + '.join(str(shape[0]) for shape in shapes)} = {out_channels}, concatenated",)
    if layer.kind == "upsample":
        _, height, width = shapes[0]
        factor = out_height // height
        return (
            f"each cell is repeated {factor} x {factor} times: {height} x {width} -> {out_height} x "
            f"{out_width}",
        )
    if (kernel := layer.kernel) is None:
        return ()
    channels, height, width = shapes[0]
    size, stride, pad, groups = kernel.size, kernel.stride, kernel.padding, kernel.groups
    window = kernel.dilation * (size - 1) + 1
    inputs = str(channels) if groups == 1 else f"({channels} / {groups})"
    weights = f"{out_channels} * {inputs} * {size} * {size}"
    vectors = f"4 * {out_channels} of batch normalization" if kernel.batch_norm else f"{out_channels} biases"
    own = f"{weights} + {vectors} = {layer.parameters:,}"
    return (
        *([f"window: {kernel.dilation} * ({size} - 1) + 1 = {window}"] if kernel.dilation > 1 else []),
        f"height: ({height} + 2 * {pad} - {window}) // {stride} + 1 = {out_height}, "
        f"width: ({width} + 2 * {pad} - {window}) // {stride} + 1 = {out_width}",
        f"parameters: {own if kernel.owner is None else f'those of layer {kernel.owner}'}",
        f"multiply-adds: {out_height} * {out_width} * {weights} = {layer.multiply_adds:,}",
    )
