"""Convert a `.cfg` with its `.weights` for ncnn: the layers to a `.param`, the numbers to a `.ncnn.bin`.

```
7767517                                             magic number
LAYERS BLOBS
Convolution  1  1 1  image 1  0=16 1=3 3=1 ...      kind, name, number of inputs and of outputs, their names,
Split        1s 1 2  1 1_0 1_1                      numbered parameters; Split gives each reader its own blob
...
# lookonce {...}                                    the description of the model, which ncnn does not read
```

Batch normalization is folded. The input is one image (3, H, W) float32 in [0, 1] of any size. Each scale,
numbered from fine to coarse, has these outputs, with one row per candidate (S*T*A, columns):

    maps_0       σ of the raw map, or the raw map itself (see `sigmoid_of`)
    sides_0      the columns with the sides in the raw map, to apply exp to; absent with `new_coords`

Legend: **A** anchors of a scale, **C** channels, **S**, **T** rows and columns of cells.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lookonce.darknet.network import IMAGE, LUMA, ConvSpec, Layer, Network, Scale
from lookonce.darknet.sections import (
    AvgPool,
    Convolutional,
    LocalAvgPool,
    MaxPool,
    Reorg,
    Route,
    Sam,
    ScaleChannels,
    Shortcut,
    Upsample,
)
from lookonce.darknet.weights import FLOAT, ConvWeights, folded_arrays
from lookonce.errors import ModelFileError
from lookonce.metadata import LEAKY_SLOPE, PARAM_DESCRIPTION, WEIGHTS_BESIDE, ModelInfo

MAGIC = "7767517"
INPUT = "image"
RAW_NUMBERS = bytes(4)  # tag before the weights of a convolution: uncompressed float32
# Activations as parameters of a convolution, as far as ncnn supports them, and as layers.
WITHIN = {
    "leaky": f"9=2 -23310=1,{LEAKY_SLOPE}", "relu": "9=1", "relu6": "9=3 -23310=2,0.0,6.0",
    "logistic": "9=4", "mish": "9=5", "linear": "",
}  # fmt: skip
ALONE = {
    "leaky": f"ReLU 0={LEAKY_SLOPE}", "relu": "ReLU", "relu6": "Clip 0=0.0 1=6.0", "logistic": "Sigmoid",
    "mish": "Mish", "swish": "Swish", "tanh": "TanH", "elu": "ELU 0=1.0",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Line:
    """A layer of ncnn with one output, which has the layer's name."""

    kind: str
    output: str
    inputs: tuple[str, ...]
    parameters: str = ""


def sigmoid_of(scale: Scale) -> bool:
    """Return whether the ncnn graph applies the sigmoid to a scale's whole raw map."""
    return not scale.activated and scale.section.form != "region"


def write_ncnn(network: Network, weights: Sequence[ConvWeights], info: ModelInfo, path: Path) -> None:
    """Write a `.param` file and the `.ncnn.bin` beside it.

    Args:
        network: network of the description, from `darknet.described.network_of`.
        weights: weights of `network.convolutions`.
        info: description of the model, with the `bn_epsilon` of the weights.
        path: `.param` file to write.

    Raises:
        ModelFileError: ncnn does not support a layer; the message names it.
    """
    text = "\n".join([*param_lines(network), PARAM_DESCRIPTION + info.to_json(), ""])
    with path.with_suffix(WEIGHTS_BESIDE[".param"]).open("wb") as stream:
        stream.writelines(bin_blocks(network, weights, info))
    path.write_text(text, encoding="utf-8", newline="\n")


def param_lines(network: Network) -> list[str]:
    """Return the lines of the `.param` file, without the description.

    Raises:
        ModelFileError: ncnn does not support a layer; the message names it.
    """
    lines = [_Line("Input", INPUT, ())]
    blobs = {IMAGE: INPUT}
    if network.cfg.net.channels == 1:
        lines.append(_Line("Convolution", "luma", (INPUT,), f"0=1 1=1 6={len(LUMA)}"))
        blobs[IMAGE] = "luma"
    needed = network.needs([scale.source for scale in network.scales])
    for layer in network.layers:
        if layer.index in needed:
            lines += _layer(network, layer, [blobs[source] for source in layer.sources])
            blobs[layer.index] = lines[-1].output
    for number, scale in enumerate(network.scales):
        if scale.section.form == "region_tree":
            _refuse(network, network.layers[scale.layer], "a tree of classes")
        lines += _scale(number, scale, blobs[scale.source])
    return _with_splits(lines)


def bin_counts(network: Network) -> list[int]:
    """Return the number of weights of each convolution in the `.ncnn.bin`, in file order, without tags."""
    counts = [len(LUMA)] if network.cfg.net.channels == 1 else []
    return counts + [math.prod(spec.kernel_shape) + spec.filters for spec in _convolutions(network)]


def bin_blocks(network: Network, weights: Sequence[ConvWeights], info: ModelInfo) -> Iterator[bytes]:
    """Yield the content of the `.ncnn.bin`.

    Args:
        network: resolved `.cfg`.
        weights: weights of `network.convolutions`.
        info: description of the model, with the `bn_epsilon` of the weights.
    """
    if network.cfg.net.channels == 1:
        yield RAW_NUMBERS + np.array(LUMA, FLOAT).tobytes()
    arrays = {spec.layer: each for spec, each in zip(network.convolutions, weights, strict=True)}
    for spec in _convolutions(network):
        kernel, bias = folded_arrays(arrays[spec.layer], info.bn_epsilon)
        yield RAW_NUMBERS
        yield kernel.astype(FLOAT, copy=False).tobytes()
        yield bias.astype(FLOAT, copy=False).tobytes()


def head_inputs(network: Network, path: Path) -> list[str]:
    """Return the names of the heads' inputs, without repetition; see `runtime.features`.

    Raises:
        ModelFileError: the network has no convolution.
    """
    found, waiting, visited = list[str](), [scale.source for scale in network.scales], {IMAGE}
    while waiting:
        index = waiting.pop(0)
        if index in visited:
            continue
        visited.add(index)
        layer = network.layers[index]
        if not isinstance(layer.section, Convolutional):
            waiting += layer.sources
        elif layer.sources[0] != IMAGE:
            found.append(str(layer.sources[0]))
        else:
            found.append("luma" if network.cfg.net.channels == 1 else INPUT)
    if not found:
        raise ModelFileError(f"{path}: expected convolutions, to compare images by; found none")
    return list(dict.fromkeys(found))


def _convolutions(network: Network) -> list[ConvSpec]:
    """Return the convolutions on which outputs depend; shared weights are repeated for each layer."""
    specs = {spec.layer: spec for spec in network.convolutions}
    needed = network.needs([scale.source for scale in network.scales])
    owners = [
        network.shared.get(layer.index, layer.index) for layer in network.layers if layer.index in needed
    ]
    return [specs[owner] for owner in owners if owner in specs]


def _layer(network: Network, layer: Layer, inputs: list[str]) -> Iterator[_Line]:
    """Yield the ncnn layers for one layer; the output of the last one is that of the layer."""
    name, first, section = str(layer.index), inputs[0], layer.section
    activation = "linear"
    match section:
        case Convolutional(xnor=True):
            _refuse(network, layer, "xnor")
        case Convolutional():
            activation = section.activation
            within = WITHIN.get(activation)
            channels = network.shape(layer.sources[0]).channels
            numbers = section.filters * channels // section.groups * section.size**2
            kind = "Convolution" if section.groups == 1 else "ConvolutionDepthWise"
            group = "" if section.groups == 1 else f" 7={section.groups}"
            made = name if within is not None else f"{name}_convolution"
            yield _Line(
                kind, made, (first,),
                f"0={section.filters} 1={section.size} 2={section.dilation} 3={section.stride} "
                f"4={section.padding * section.dilation} 5=1 6={numbers}{group} {within or ''}".rstrip(),
            )  # fmt: skip
            if within is None:
                yield _activated(name, made, activation)
            return
        case Shortcut():
            activation, total = section.activation, first
            for number, (source, other) in enumerate(zip(layer.sources[1:], inputs[1:], strict=True)):
                missing = layer.shape.channels - network.shape(source).channels  # missing channels count as 0
                if missing > 0:
                    yield _Line("Padding", f"{name}_padded_{number}", (other,), f"8={missing}")
                    other = f"{name}_padded_{number}"
                elif missing < 0:
                    yield _channels(f"{name}_cut_{number}", other, 0, layer.shape.channels)
                    other = f"{name}_cut_{number}"
                yield _Line("BinaryOp", f"{name}_sum_{number}", (total, other), "0=0")
                total = f"{name}_sum_{number}"
            first = total
        case ScaleChannels() | Sam():
            activation = section.activation
            yield _Line("BinaryOp", f"{name}_product", (inputs[1], first), "0=2")
            first = f"{name}_product"
        case Route(_, groups, group_id):
            parts = list(inputs)
            if groups > 1:
                for number, source in enumerate(layer.sources):
                    size = network.shape(source).channels // groups
                    cut = f"{name}_cut_{number}"
                    yield _channels(cut, parts[number], size * group_id, size * (group_id + 1))
                    parts[number] = cut
            if len(parts) > 1:
                yield _Line("Concat", name, tuple(parts), "0=0")
                return
            first = parts[0]
        case MaxPool(size, stride, padding) | LocalAvgPool(size, stride, padding):
            before = padding // 2
            after = padding - before
            mean = isinstance(section, LocalAvgPool)
            yield _Line(
                "Pooling", name, (first,),
                f"0={mean:d} 1={size} 2={stride} 3={before} 13={before} 14={after} 15={after} 5=1 6=0",
            )  # fmt: skip
            return
        case Upsample(stride):
            yield _Line("Interp", name, (first,), f"0=1 1={float(stride)} 2={float(stride)}")
            return
        case AvgPool():  # ncnn's global mean is a vector, but the next layer expects an image
            yield _Line("Pooling", f"{name}_mean", (first,), "0=1 4=1")
            yield _Line("Reshape", name, (f"{name}_mean",), "0=1 1=1 2=-1")
            return
        case Reorg(stride, scrambled=False):
            yield _Line("Reorg", name, (first,), f"0={stride} 1=1")
            return
        case Reorg():
            _refuse(network, layer, "")
    yield _activated(name, first, activation)


def _activated(name: str, first: str, activation: str) -> _Line:
    kind, _, parameters = ALONE.get(activation, "Noop").partition(" ")
    return _Line(kind, name, (first,), parameters)


def _channels(name: str, first: str, start: int, end: int) -> _Line:
    return _Line("Crop", name, (first,), f"-23309=1,{start} -23310=1,{end} -23311=1,0")


def _refuse(network: Network, layer: Layer, detail: str) -> None:
    kind = network.cfg.kinds[layer.index]
    raise ModelFileError(
        f"{network.cfg.file}:{layer.section.line}: [{kind}]{' with ' * bool(detail)}{detail} cannot be "
        "written for ncnn; expected onnx or openvino"
    )


def _scale(number: int, scale: Scale, raw: str) -> Iterator[_Line]:
    """Yield the ncnn layers from a raw map (A*columns, S, T) to its outputs, one row per candidate."""
    yield _Line("Permute", f"cells_{number}", (raw,), "0=3")  # (S, T, A*columns)
    rows = f"rows_{number}" if sigmoid_of(scale) else f"maps_{number}"
    yield _Line("Reshape", rows, (f"cells_{number}",), f"0={scale.columns} 1=-1")
    if sigmoid_of(scale):
        if scale.section.form != "new_coords":
            # with `gaussian`, each side is followed by its uncertainty
            start, end = (4, 7) if scale.section.form == "gaussian" else (2, 4)
            yield _Line("Crop", f"sides_{number}", (rows,), f"-23309=1,{start} -23310=1,{end} -23311=1,1")
        yield _Line("Sigmoid", f"maps_{number}", (rows,))


def _with_splits(lines: Sequence[_Line]) -> list[str]:
    """Return the `.param` as lines of text, with a `Split` after each output that has several readers."""
    readers: dict[str, int] = {}
    for line in lines:
        for each in line.inputs:
            readers[each] = readers.get(each, 0) + 1
    text, blobs, left = [], 0, {name: iter(range(count)) for name, count in readers.items()}
    for line in lines:
        inputs = [each if readers[each] == 1 else f"{each}_{next(left[each])}" for each in line.inputs]
        words = [line.kind, line.output, len(inputs), 1, *inputs, line.output, line.parameters]
        text.append(" ".join(map(str, words)).rstrip())
        count = readers.get(line.output, 0)
        if count > 1:
            outputs = [f"{line.output}_{number}" for number in range(count)]
            text.append(" ".join(["Split", f"{line.output}_split", "1", str(count), line.output, *outputs]))
        blobs += 1 + (count if count > 1 else 0)
    return [MAGIC, f"{len(text)} {blobs}", *text]
