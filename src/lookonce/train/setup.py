"""Make the network, the data set and the learning rate schedule of a run from its data and settings."""

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import torch
from torch import nn

from lookonce.config import Objective, TrainSettings
from lookonce.darknet.described import cfg_of, network_of, published_scales
from lookonce.darknet.described import describe as darknet_info
from lookonce.darknet.heads import with_anchors, with_heads
from lookonce.darknet.network import Network
from lookonce.darknet.resolve import resolve
from lookonce.data.dataset import Dataset
from lookonce.errors import ConfigError
from lookonce.geometry.anchors import fit_anchors
from lookonce.geometry.sizes import size_text
from lookonce.metadata import OBJECTIVE, ModelInfo, TrainedOn, Training
from lookonce.model.blocks import Head
from lookonce.model.graph import GraphConvolution
from lookonce.model.network import build
from lookonce.networks import NETWORKS
from lookonce.samples import Sample, input_shapes
from lookonce.seen import Seen
from lookonce.train.schedule import Schedule
from lookonce.values import measure_values


@dataclass(frozen=True, slots=True)
class TrainData:
    """Images of a run.

    Attributes:
        names: class names.
        train: images to train on.
        val: validation images; if empty, the last model counts as the best.
        seen: fingerprints of the training and validation images; empty to record none.
    """

    names: tuple[str, ...]
    train: Sequence[Sample]
    val: Sequence[Sample]
    seen: Seen = field(default_factory=Seen)

    def summary(self) -> TrainedOn:
        """Return counts, and a digest of file names, boxes and classes that is independent of folders."""
        digest = hashlib.sha256()
        for sample in chain(self.train, self.val):
            digest.update(os.fsencode(sample.path.name))
            digest.update(sample.annotation_bytes())
        return {
            "images": len(self.train),
            "boxes": sum(len(sample.labels) for sample in self.train),
            "validation": len(self.val),
            "digest": digest.hexdigest(),
        }


def describe(data: TrainData, settings: TrainSettings) -> ModelInfo:
    """Describe the model that a run with this data and these settings trains.

    Raises:
        ConfigError: the anchors or the size do not suit the network.
    """
    given, strides = published_scales(settings.model)
    anchors = given
    if settings.anchors == "data":
        readable = [each for each in data.train if each.is_readable]
        anchors = fit_anchors(input_shapes(readable, settings.size), given)
    elif settings.anchors != "official":
        anchors = settings.anchors
        if len(anchors) != len(given):
            raise ConfigError(
                f"anchors: expected {len(given)} lists of [width, height] for {settings.model}, "
                f"found {len(anchors)}"
            )
    if settings.model in NETWORKS:
        info = ModelInfo(settings.model, data.names, anchors, strides, settings.size, settings.width)
    else:
        if any(side % strides[-1] for side in settings.size):
            raise ConfigError(
                f"size: expected multiples of {strides[-1]}, the coarsest stride of {settings.model}, "
                f"found {size_text(settings.size)}"
            )
        network = with_heads(cfg_of(settings.model), len(data.names), settings.size)
        network = network if anchors == given else with_anchors(network, anchors)
        info = darknet_info(network, data.names)
    values = settings.values or measure_values([sample.path for sample in data.train])[0]
    objective = Objective(assign=settings.assign, loss=settings.loss, difficult=settings.difficult)
    training: Training = {OBJECTIVE: objective.model_dump(mode="json"), "data": data.summary()}
    if data.seen.learned and (record := data.seen.record()):
        training["seen"] = record
    return replace(
        info,
        bn_epsilon=settings.batch_norm.epsilon,
        training=training,
        values=values,
    )


def as_trained(settings: TrainSettings, info: ModelInfo) -> TrainSettings:
    """Return the settings with a trained model's range of pixel values and batch normalization epsilon."""
    norm = settings.batch_norm.model_copy(update={"epsilon": info.bn_epsilon})
    return settings.model_copy(update={"values": info.values, "batch_norm": norm})


def base_network(settings: TrainSettings, info: ModelInfo) -> Network:
    """Return the network of weights without a `.cfg`: the unchanged `.cfg` to train, or the named network."""
    return network_of(info) if settings.model in NETWORKS else resolve(cfg_of(settings.model))


@torch.no_grad()
def make_network(info: ModelInfo, settings: TrainSettings) -> nn.Module:
    """Build a network with initial weights whose cells predict the objectness `objectness_prior`.

    `build` initializes weights as the reference does: kernels from a normal distribution with standard
    deviation 0.01, and biases of 0, which give an objectness of 0.5. A bias of log(p / (1 - p)) changes it to
    p (Lin et al. 2017, section 4.1).
    """
    network = build(info)
    prior = settings.objectness_prior
    for module in network.modules():
        bias = module.objectness_bias() if isinstance(module, Head | GraphConvolution) else None
        if bias is not None:
            bias.fill_(math.log(prior / (1 - prior)))
    return network


def make_dataset(data: TrainData, info: ModelInfo, settings: TrainSettings) -> Dataset:
    """Make the data set of training images, with augmentation and assignment from the settings."""
    return Dataset(
        data.train,
        info,
        settings.augment,
        settings.seed,
        assignment=settings.assign,
        repeat_rare=settings.repeat_rare,
        difficult=settings.difficult,
    )


def make_schedule(settings: TrainSettings, steps_per_epoch: int) -> Schedule:
    """Make the learning rate schedule of a run with `steps_per_epoch` steps per epoch."""
    optimizer = settings.optimizer
    warmup = round(optimizer.warmup_epochs * steps_per_epoch)
    return Schedule(optimizer.rate, optimizer.end_rate, warmup, settings.epochs * steps_per_epoch)
