import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from lookonce.darknet.cfg import parse_cfg, read_cfg
from lookonce.darknet.resolve import resolve
from lookonce.darknet.weights import read_weights, write_weights
from tests.darknet.oracle import (
    in_files,
    in_memory,
    lookonce_outputs,
    needs_opencv_importer,
    opencv_raw_maps,
    random_weights,
    relative_error,
)

TRAINED = ["MobileNetV2-YOLOv3-Nano-coco", "yolo-fastest-1.1-xl"]
OFFICIAL = ["yolov3", "yolov3-spp", "yolov3-tiny", "yolov3-voc", "yolov3-openimages"]
TOLERANCE = 1e-4


@needs_opencv_importer
@pytest.mark.parametrize("name", TRAINED)
def test_raw_maps_of_trained_networks_equal_opencv(data: Path, photographs: list[Path], name: str) -> None:
    cfg = data / "darknet" / f"{name}.cfg"
    network = resolve(read_cfg(cfg))
    weights = read_weights(cfg.with_suffix(".weights"), network.convolutions)[1]
    images = np.stack([cv2.resize(cv2.imread(str(photo)), (320, 320))[..., ::-1] for photo in photographs])

    raw_maps = lookonce_outputs(network, weights, images)[1]

    for found, expected in zip(raw_maps, opencv_raw_maps(in_files(cfg), network, images), strict=True):
        assert found.shape[0] == len(photographs)
        assert relative_error(found, expected) < TOLERANCE


@needs_opencv_importer
@pytest.mark.parametrize("name", OFFICIAL)
def test_raw_maps_of_official_networks_equal_opencv(data: Path, name: str) -> None:
    text = _resized((data / "darknet" / f"{name}.cfg").read_text(), width=160, height=96)
    network = resolve(parse_cfg(text, name))
    weights = random_weights(network)
    images = np.random.default_rng(1).integers(0, 256, (1, 96, 160, 3), dtype=np.uint8)

    raw_maps = lookonce_outputs(network, weights, images)[1]

    expected_maps = opencv_raw_maps(in_memory(text, weights), network, images)
    for found, expected in zip(raw_maps, expected_maps, strict=True):
        assert 0.1 < expected.std() < 100, "the comparison is worth nothing"
        assert relative_error(found, expected) < TOLERANCE


# all section types and keys that OpenCV supports too
SMALL = """
[net]
width=64
height=96
[convolutional]
filters=8
size=5
stride=2
pad=1
batch_normalize=1
activation={activation}
[convolutional]
filters=8
size=3
padding=1
groups=4
activation=leaky
[shortcut]
from=-2
activation={activation}
[maxpool]
size={pool}
stride={stride}
[route]
layers=-1
groups=2
group_id=1
[convolutional]
filters=6
size=1
stride=1
activation=linear
[upsample]
stride=2
[dropout]
probability=.5
[route]
layers=-1,-2
[maxpool]
size=2
stride=2
[convolutional]
filters=14
size=1
pad=1
activation=linear
[yolo]
mask=1,2
anchors=4,5, 10,8, 20.5,30
classes=2
num=3
scale_x_y=1.1
"""


@needs_opencv_importer
@pytest.mark.parametrize("activation", ["linear", "leaky", "relu", "logistic", "swish", "mish"])
@pytest.mark.parametrize(("pool", "stride"), [(2, 1), (2, 2), (3, 1), (3, 2), (5, 1), (13, 1)])
def test_raw_maps_of_every_kind_of_layer_equal_opencv(
    tmp_path: Path, activation: str, pool: int, stride: int
) -> None:
    cfg = tmp_path / "small.cfg"
    cfg.write_text(SMALL.format(activation=activation, pool=pool, stride=stride))
    network = resolve(read_cfg(cfg))
    weights = random_weights(network)
    write_weights(cfg.with_suffix(".weights"), weights)
    images = np.random.default_rng(1).integers(0, 256, (2, 96, 64, 3), dtype=np.uint8)

    (found,) = lookonce_outputs(network, weights, images)[1]

    (expected,) = opencv_raw_maps(in_files(cfg), network, images)
    assert expected.std() > 0.05
    assert relative_error(found, expected) < TOLERANCE


def _resized(text: str, width: int, height: int) -> str:
    """Return a `.cfg` with another input size."""
    return re.sub(
        "height=.*", f"height={height}", re.sub("width=.*", f"width={width}", text, count=1), count=1
    )


# sections and combinations that OpenCV does not support
RARE = """
[net]
width=62
height=93
[convolutional]
filters=8
size=4
stride=3
padding=2
activation=relu6
[convolutional]
filters=8
size=1
activation=mish
[shortcut]
from=-2,0
activation=swish
[route]
layers=-1,1
groups=4
group_id=2
[maxpool]
size=4
stride=2
padding=5
[upsample]
stride=3
[convolutional]
filters=6
size=17
stride=17
activation=linear
[yolo]
anchors=4,5
classes=1
[route]
layers=0
[avgpool]
[upsample]
stride=3
[route]
layers=-1,-1
"""


def test_rare_layers_equal_torch() -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    network = resolve(parse_cfg(RARE, "rare.cfg"))
    weights = random_weights(network)
    weights[0].kernel[:] *= 10  # so that relu6 clips some values
    images = np.random.default_rng(1).integers(0, 256, (2, 93, 62, 3), dtype=np.uint8)
    kernels = [(torch.tensor(each.kernel), torch.tensor(each.bias)) for each in weights]

    x = torch.tensor(images).permute(0, 3, 1, 2) / 255
    first = functional.relu6(functional.conv2d(x, *kernels[0], stride=3, padding=2))
    assert 0.05 < (first == 6).float().mean() < 0.5
    second = functional.mish(functional.conv2d(first, *kernels[1]))
    third = functional.silu(second + first + first)
    route = torch.cat([third[:, 4:6], second[:, 4:6]], dim=1)
    pool = functional.max_pool2d(functional.pad(route, (2, 3, 2, 3), value=float("-inf")), 4, 2)
    up = functional.interpolate(pool, scale_factor=3.0)
    expected = functional.conv2d(up, *kernels[2], stride=17)

    assert [network.shape(index) for index in range(6)] == [
        part.shape[1:] for part in (first, second, third, route, pool, up)
    ]
    assert relative_error(lookonce_outputs(network, weights, images)[1][0], expected.numpy()) < 1e-5


def test_average_pooling_equals_numpy() -> None:
    text = "[net]\nwidth=64\nheight=64\n[avgpool]\n[convolutional]\nfilters=6\nactivation=linear\n"
    network = resolve(parse_cfg(text + "[yolo]\nanchors=4,5\nclasses=1", "x.cfg"))
    (weights,) = random_weights(network)
    images = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)

    (found,) = lookonce_outputs(network, [weights], images)[1]

    mean = images.mean((1, 2)) / 255
    expected = mean @ weights.kernel[:, :, 0, 0].T + weights.bias
    assert relative_error(found, expected[:, :, None, None]) < 1e-6


def test_candidates_follow_the_formula_in_the_agreed_order() -> None:
    text = SMALL.format(activation="leaky", pool=2, stride=2)
    network = resolve(parse_cfg(text, "small.cfg"))
    images = np.random.default_rng(1).integers(0, 256, (2, 96, 64, 3), dtype=np.uint8)

    candidates, (raw,) = lookonce_outputs(network, random_weights(network), images)

    assert raw.shape == (2, 14, 24, 16)
    expected = np.empty((2, 24 * 16 * 2, 7))
    sigmoid = 1 / (1 + np.exp(-raw.astype(np.float64)))
    for image, row, column, anchor in np.ndindex(2, 24, 16, 2):
        t, s = (part[image, 7 * anchor : 7 * anchor + 7, row, column] for part in (raw, sigmoid))
        x, y = (s[:2] * 1.1 - 0.05 + (column, row)) * 4
        w, h = np.exp(t[2:4]) * ((10, 8), (20.5, 30))[anchor]
        place = (row * 16 + column) * 2 + anchor
        expected[image, place] = x - w / 2, y - h / 2, x + w / 2, y + h / 2, *s[4:]
    np.testing.assert_allclose(candidates, expected, rtol=1e-5, atol=1e-4)


def test_scales_run_from_fine_to_coarse_and_absurd_sides_stay_finite(data: Path) -> None:
    network = resolve(read_cfg(data / "darknet" / "yolo-fastest-1.1-xl.cfg"))
    weights = random_weights(network)
    coarse, fine = (
        each
        for each, spec in zip(weights, network.convolutions, strict=True)
        if spec.layer in [scale.source for scale in network.scales]
    )
    coarse.bias[:], fine.bias[:] = -300, 300

    candidates, raw_maps = lookonce_outputs(network, weights, np.zeros((1, 64, 96, 3), np.uint8))

    assert [raw.shape for raw in raw_maps] == [(1, 255, 4, 6), (1, 255, 2, 3)]
    assert candidates.shape == (1, 3 * (24 + 6), 85)
    assert np.isfinite(candidates).all()
    assert (candidates[0, :72, 4] == 1).all()
    assert (candidates[0, 72:, 4] == 0).all()
