"""Make a trained network smaller by removing its least important channels, and measure the change in AP.

channels           -> change of the loss without each bundle of channels           importance_of
importance         -> bundles to remove to reach a speed on this machine           slim
smaller network    -> trained, with the original network as its teacher            train.run
both networks      -> AP on the validation images, and time                        judge

A bundle holds channels that can only be removed together; see `darknet.channels`.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from lookonce._counted import counted
from lookonce._files import read_text, write_text
from lookonce.config import TrainSettings
from lookonce.darknet.channels import Channels, Cost, choose, without
from lookonce.darknet.described import describe, network_of
from lookonce.darknet.network import Network
from lookonce.darknet.onnx_graph import build_onnx
from lookonce.darknet.weights import ConvWeights
from lookonce.data.loader import Loader
from lookonce.errors import ConfigError, ModelFileError
from lookonce.evaluate.classes import listed
from lookonce.gate import Comparison, Times, compare_files, time_both
from lookonce.metadata import ModelInfo
from lookonce.model.darknet_io import arrays_of, fill, load_arrays, load_darknet
from lookonce.model.files import load_model, save_model
from lookonce.model.graph import DarknetGraph, GraphConvolution
from lookonce.model.network import build
from lookonce.networks import model_name
from lookonce.runtime.cpu import this_cpu
from lookonce.samples import Sample, named_as_in, numbers_in
from lookonce.train.learner import forward
from lookonce.train.setup import TrainData, make_dataset

IMAGES = 128  # training images from which the importance of the channels is estimated
TRIES = 5  # most networks built and timed
NEAR = 0.04  # share by which the speed may exceed the target


@dataclass(frozen=True, slots=True)
class Parent:
    """A trained model to make smaller.

    Attributes:
        network: layers of the model.
        weights: weights of the convolutions, in the order of a weight file.
        info: description of the model.
    """

    network: Network
    weights: list[ConvWeights]
    info: ModelInfo

    def digest(self) -> str:
        """Return a hash of classes, anchors, strides and weights."""
        total = blake2b(
            repr((self.info.names, self.info.anchors, self.info.strides)).encode(), digest_size=16
        )
        for each in (array for layer in self.weights for array in layer.in_file_order()):
            total.update(np.ascontiguousarray(each, np.float32).tobytes())
        return total.hexdigest()

    def save_onnx(self, path: Path) -> None:
        """Write the model as an ONNX file, for the default engine."""
        path.write_bytes(build_onnx(self.network, self.weights, self.info).SerializeToString())


def read_parent(path: Path) -> tuple[Parent, nn.Module]:
    """Read a model; return it, and the same model as a torch network to use as the teacher.

    Raises:
        ModelFileError: the file is not a `.safetensors` or a `.cfg` with its weights.
    """
    suffix = path.suffix.lower()
    if suffix not in (".safetensors", ".cfg", ".weights"):
        raise ModelFileError(
            f"{path}: expected a model that can be trained (.safetensors, .cfg), found suffix {path.suffix!r}"
        )
    network, info = load_model(path) if suffix == ".safetensors" else load_darknet(path)
    return Parent(network_of(info), arrays_of(network), info), network.eval().requires_grad_(False)


def same_classes(data: TrainData, info: ModelInfo, model: Path) -> TrainData:
    """Return the data with the model's class numbers.

    Raises:
        ConfigError: the data has other classes than the model, or no object in its validation images.
    """
    data = replace(data, names=named_as_in(data.names, info.names))
    if set(data.names) != set(info.names):
        missing, extra = (
            [name for name in some if name not in others]
            for some, others in ((info.names, data.names), (data.names, info.names))
        )
        what = [f"without {listed(missing)}"] * bool(missing) + [f"with {listed(extra)}"] * bool(extra)
        raise ConfigError(
            f"data: expected the classes of {model_name(model)}, found data {' and '.join(what)}"
        )
    if not any(len(sample.labels) for sample in data.val):
        raise ConfigError("data: expected validation images with objects, found none to measure AP on")
    numbers = numbers_in(info.names, data.names)
    train, val = ([sample.renumbered(numbers) for sample in part] for part in (data.train, data.val))
    return replace(data, names=info.names, train=train, val=val)


def importance_of(
    channels: Channels,
    parent: Parent,
    data: TrainData,
    settings: TrainSettings,
    advance: Callable[[int], None] = lambda images: None,
) -> NDArray[np.float64]:
    """Estimate from training images how much the loss would change without each bundle of channels.

    Removing a channel multiplies it, before its activation, by 0 instead of 1. To first order, the loss
    changes by its derivative with respect to this factor, which is gamma * dL/dgamma + beta * dL/dbeta for a
    layer with batch normalization. The derivative is summed over the channels of a bundle, squared, and
    summed over batches (Molchanov et al. 2019, "Importance estimation for neural network pruning",
    equation 8).

    Args:
        channels: channels of the parent.
        parent: trained model.
        data: training images.
        settings: settings of the training that follows, of which batch size, augmentation, assignment and
            loss are used.
        advance: function called with the number of images in each batch.

    Returns:
        Importance of each bundle, (bundles,).
    """
    graph = DarknetGraph(parent.network, bn_epsilon=parent.info.bn_epsilon)
    fill(graph, parent.weights)
    graph.eval()
    places = [channel for bundle in channels.bundles for channel in bundle.channels]
    bundle_of = [number for number, bundle in enumerate(channels.bundles) for _ in bundle.channels]
    found, images = np.zeros(len(channels.bundles)), 0
    with Loader(make_dataset(data, parent.info, settings), settings.batch_size, settings.workers) as loader:
        for step in loader.steps(0):
            for batch in step:
                graph.zero_grad()
                forward(graph, batch, parent.info, settings).total().backward()  # type: ignore[no-untyped-call]
                by_layer = {int(name): _derivatives(module) for name, module in graph.layers.items()}
                # layers that share weights have one derivative, which counts for the layer that owns them
                each = [by_layer[layer][number] if layer in by_layer else 0.0 for layer, number in places]
                found += np.bincount(bundle_of, each, minlength=len(found)) ** 2
                images += batch.image_count
                advance(batch.image_count)
            if images >= IMAGES:
                break
    return found


def _derivatives(module: nn.Module) -> NDArray[np.float32]:
    """Return the derivative of the loss with respect to a factor on each output channel: (out,)."""
    assert isinstance(module, GraphConvolution)
    # the factor is applied after batch normalization or, without it, after the bias
    terms: list[Tensor | None] = (
        [module.bn.weight, module.bn.bias]
        if isinstance(module.bn, nn.BatchNorm2d)
        else [module.conv.weight, module.conv.bias]
    )
    total = np.zeros(module.conv.out_channels, np.float32)
    for tensor in terms:
        if tensor is not None and tensor.grad is not None:
            total += (tensor * tensor.grad).detach().cpu().reshape(len(total), -1).sum(1).numpy()
    return total


@dataclass(frozen=True, slots=True)
class Slimmed:
    """Smaller network before its training.

    Attributes:
        model: smaller network and its description.
        share: multiplications of the smaller network, as a share of the parent's.
        times: times of the parent and of the smaller network, measured alternately.
    """

    model: Parent
    share: float
    times: Times

    def describe(self) -> str:
        """Describe the removed channels and the speed reached."""
        times = self.times
        return (
            f"with {self.share:.0%} of its multiplications: {times.before:.1f} -> {times.after:.1f} ms per "
            f"image here, {times.speed_up:.2f} times as fast"
        )


def slim(channels: Channels, parent: Parent, importance: Sequence[float], faster: float) -> Slimmed:
    """Remove bundles until the network reaches the target speed on this machine.

    Importance and multiplications determine which bundles to remove, and the measured time how many: the
    target share of multiplications is corrected until the time in the default engine meets the target.

    Args:
        channels: channels of the parent.
        parent: trained model.
        importance: importance of each bundle.
        faster: target speed, as the parent's time divided by the target time.

    Returns:
        Largest tried network that is fast enough or, if none is, the fastest.

    Raises:
        ConfigError: no channel can be removed.
    """
    whole, share, tried = Cost(parent.network).total, 1 / faster, dict[int, Slimmed]()
    step = this_cpu().channels_at_once
    inputs = np.random.default_rng(0).integers(0, 256, (2, *parent.info.input_size, 3), np.uint8)
    with TemporaryDirectory(prefix="lookonce-") as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        parent.save_onnx(before)
        for _ in range(TRIES):
            removed = choose(channels, importance, share, step)
            if not removed:
                why = f"since every layer keeps at least {step} and a quarter of its own"
                raise ConfigError(f"faster: expected channels to remove, found none for {faster:g}, {why}")
            if len(removed) in tried:
                break
            network, weights = without(channels, parent.weights, removed)
            info = replace(
                describe(network, parent.info.names),
                bn_epsilon=parent.info.bn_epsilon,
                fit=parent.info.fit,
                values=parent.info.values,
                training=parent.info.training,
            )
            model = Parent(network, weights, info)
            model.save_onnx(after)
            made = Slimmed(model, Cost(network).total / whole, time_both(before, after, inputs))
            tried[len(removed)] = made
            if faster <= made.times.speed_up <= faster * (1 + NEAR):
                break
            share = min(0.98, made.share * made.times.speed_up / faster / (1 + NEAR / 2))
    enough = [each for each in tried.values() if each.times.speed_up >= faster]
    if enough:
        return max(enough, key=lambda each: each.share)
    return max(tried.values(), key=lambda each: each.times.speed_up)


def save_start(path: Path, model: Parent, parent: Parent, faster: float) -> None:
    """Write a smaller network as the model that its training starts from, and a JSON file with its origin."""
    network = build(model.info)
    fill(network, model.weights)
    write_text(path.with_suffix(".json"), json.dumps({"parent": parent.digest(), "faster": faster}) + "\n")
    save_model(path, network.state_dict(), model.info)


def check_start(path: Path, parent: Parent, model: Path, faster: float | None = None) -> float:
    """Check that a run to resume was started from this parent, and return its target speed.

    Raises:
        ConfigError: the folder holds no run of `slim`, or one with another model or target speed.
    """
    origin = path.with_suffix(".json")
    for each in (path, origin):
        if not each.exists():
            raise ConfigError(f"{path.parent}: nothing to resume: expected {each.name}")
    try:
        began = json.loads(read_text(origin, ConfigError))
        digest, speed = str(began["parent"]), float(began["faster"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{origin}: expected the parent and the speed of a slim run: {error!r}") from error
    if digest != parent.digest():
        raise ConfigError(
            f"{path.parent}: expected the model that the run began with, found {model_name(model)}"
        )
    if faster not in (None, speed):
        raise ConfigError(f"faster: expected {speed:g}, with which the run began, found {faster:g}")
    return speed


@dataclass(frozen=True, slots=True)
class SlimVerdict:
    """Comparison of the parent with the smaller model after its training.

    Attributes:
        compared: AP of both on the validation images.
        times: times of both, measured alternately.
        share: multiplications of the smaller model, as a share of the parent's.
        parameters: number of parameters of the parent and of the smaller model.
    """

    compared: Comparison
    times: Times
    share: float
    parameters: tuple[int, int]

    def describe(self) -> tuple[str, str]:
        """Describe AP, time and size of both."""
        before, after, times = self.compared.before, self.compared.after, self.times
        many, few = self.parameters
        return (
            f"{counted(after.images, 'validation image')}: AP {before.ap:.3f} -> {after.ap:.3f}, "
            f"AP50 {before.ap50:.3f} -> {after.ap50:.3f}",
            f"{times.before:.1f} -> {times.after:.1f} ms per image, {times.speed_up:.2f} times as fast; "
            f"{many:,} -> {few:,} parameters",
        )

    def to_dict(self) -> dict[str, object]:
        """Return the numbers for JSON; pairs are before and after."""
        before, after = self.compared.before, self.compared.after
        return {
            "ap": [before.ap, after.ap],
            "ap50": [before.ap50, after.ap50],
            "images": after.images,
            "milliseconds": [self.times.before, self.times.after],
            "speed_up": self.times.speed_up,
            "multiplications": self.share,
            "parameters": list(self.parameters),
        }


def judge(parent: Parent, path: Path, samples: Iterable[Sample]) -> SlimVerdict:
    """Measure AP and time of the parent and of a trained smaller model.

    Args:
        parent: trained model.
        path: model file of the smaller model.
        samples: annotated images, with the model's class numbers.
    """
    weights, info = load_arrays(path)
    small = Parent(network_of(info), weights, info)
    inputs = np.random.default_rng(0).integers(0, 256, (2, *info.input_size, 3), np.uint8)
    with TemporaryDirectory(prefix="lookonce-") as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        parent.save_onnx(before)
        small.save_onnx(after)
        times = time_both(before, after, inputs)
        compared = compare_files(before, after, samples)
    share = Cost(small.network).total / Cost(parent.network).total
    return SlimVerdict(compared, times, share, (parent.network.numbers, small.network.numbers))
