from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lookonce.darknet.cfg import parse_cfg
from lookonce.darknet.classic import classic_cfg
from lookonce.darknet.files import open_darknet
from lookonce.darknet.network import Network
from lookonce.darknet.resolve import resolve
from lookonce.darknet.weights import ConvWeights
from lookonce.darknet.write import write_darknet
from lookonce.errors import ModelFileError
from lookonce.metadata import ModelInfo
from tests.darknet.oracle import (
    in_files,
    lookonce_outputs,
    needs_opencv_importer,
    opencv_raw_maps,
    random_weights,
    relative_error,
)

INFO = ModelInfo(
    "yolov3-tiny",
    names=("cat", "big dog", "Käfer"),
    anchors=(((10.0, 13.5), (16.0, 30.0)), ((62.0, 45.0), (59.0, 119.0))),
    strides=(16, 32),
    input_size=(96, 160),
    width=0.25,
    bn_epsilon=1e-6,
)


def network_of(info: ModelInfo) -> Network:
    return resolve(parse_cfg(classic_cfg(info), "x.cfg"))


def test_reading_back_gives_the_same_model(tmp_path: Path) -> None:
    weights = random_weights(network_of(INFO))

    write_darknet(tmp_path / "model.cfg", INFO, weights)

    back = open_darknet(tmp_path / "model.cfg")
    assert back.info == INFO
    for found, expected in zip(back.read_weights(), weights, strict=True):
        for ours, theirs in zip(found.in_file_order(), expected.in_file_order(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "model.cfg",
        "model.names",
        "model.weights",
    ]


@needs_opencv_importer
@pytest.mark.parametrize("epsilon", [1e-6, 1e-5, 1e-3, 0.0])
@pytest.mark.parametrize("architecture", ["yolov3", "yolov3-spp", "yolov3-tiny"])
def test_opencv_computes_the_same_as_the_model(tmp_path: Path, architecture: str, epsilon: float) -> None:
    info = replace(INFO, architecture=architecture, width=0.125, bn_epsilon=epsilon)
    if architecture != "yolov3-tiny":
        info = replace(info, anchors=(*INFO.anchors, ((3.0, 4.0), (5.0, 6.0))), strides=(8, 16, 32))
    network = network_of(info)
    weights = [with_small_variances(each) for each in random_weights(network)]

    write_darknet(tmp_path / "model.cfg", info, weights)

    images = np.random.default_rng(1).integers(0, 256, (2, 96, 160, 3), dtype=np.uint8)
    found_maps = opencv_raw_maps(in_files(tmp_path / "model.cfg"), network, images)
    exact = [as_gamma(each, epsilon) for each in weights]
    for found, expected in zip(found_maps, lookonce_outputs(network, exact, images)[1], strict=True):
        assert relative_error(found, expected) < 1e-4


def with_small_variances(weights: ConvWeights) -> ConvWeights:
    """Set variances so small that the epsilon matters, and gammas that keep the activations in bounds."""
    if weights.batch_norm is None:
        return weights
    norm = weights.batch_norm
    variance = norm.variance * np.float32(1e-4)
    return replace(weights, batch_norm=replace(norm, variance=variance, gamma=norm.gamma * np.float32(1e-2)))


def as_gamma(weights: ConvWeights, epsilon: float) -> ConvWeights:
    """Move the root of the variance into gamma, with a variance of 1, so that the epsilon does not matter."""
    if weights.batch_norm is None:
        return weights
    norm = weights.batch_norm
    gamma = norm.gamma / np.sqrt(norm.variance.astype(np.float64) + epsilon) * np.sqrt(1 + 1e-6)
    return replace(
        weights,
        batch_norm=replace(norm, gamma=gamma.astype(np.float32), variance=np.ones_like(norm.variance)),
    )


@pytest.mark.parametrize("name", ["", " a", "a\n", "a\nb", "a\x85b"])
def test_class_names_that_do_not_fit_on_a_line_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelFileError, match="class names that fit one to a line"):
        write_darknet(
            tmp_path / "model.cfg", replace(INFO, names=("a", "b", name)), random_weights(network_of(INFO))
        )
    assert not list(tmp_path.iterdir())


def test_other_architectures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"expected one of the architectures yolov3, .*found 'darknet'"):
        write_darknet(tmp_path / "model.cfg", replace(INFO, architecture="darknet"), [])


def test_weights_of_another_network_raise_value_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected kernels"):
        write_darknet(tmp_path / "model.cfg", INFO, random_weights(network_of(replace(INFO, width=0.5))))
