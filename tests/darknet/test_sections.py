"""Sections that YOLOv3 does not have, each in a small network, compared with OpenCV, torch or NumPy."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from lookonce.darknet.cfg import parse_cfg, read_cfg
from lookonce.darknet.heads import with_heads
from lookonce.darknet.network import Network
from lookonce.darknet.resolve import resolve
from lookonce.darknet.weights import ConvWeights
from lookonce.errors import ModelFileError
from tests.darknet.oracle import (
    in_memory,
    lookonce_outputs,
    needs_opencv_importer,
    opencv_raw_maps,
    random_weights,
    relative_error,
)

NET = "[net]\nwidth=64\nheight=96\nchannels=3\n"
EIGHT = "[convolutional]\nfilters=8\nsize=8\nstride=8\nactivation=leaky\n"
ALIKE = "[convolutional]\nfilters=8\nsize=1\nstride=1\npad=1\nactivation=leaky\n"
FOUR = "[convolutional]\nfilters=4\nsize=1\nstride=1\npad=1\nactivation=leaky\n"
HEAD = "[convolutional]\nfilters=14\nsize=1\nstride=1\npad=1\nactivation=linear\n"
ANCHORS = "anchors=4,5, 10,8\nclasses=2\nnum=2\n"
YOLO = HEAD + "[yolo]\nmask=0,1\n" + ANCHORS
IMAGES = np.random.default_rng(1).integers(0, 256, (2, 96, 64, 3), dtype=np.uint8)


def network(text: str) -> Network:
    return resolve(parse_cfg(NET + text, "x.cfg"))


SECTIONS = {
    "shortcut to more channels": FOUR + "[shortcut]\nfrom=-2\nactivation=linear\n",
    "shortcut to fewer channels": FOUR + ALIKE + "[shortcut]\nfrom=-2\nactivation=leaky\n",
    "scale_channels": "[avgpool]\n" + ALIKE + "[scale_channels]\nfrom=-3\nactivation=linear\n",
    "sam": ALIKE.replace("leaky", "logistic") + "[sam]\nfrom=-2\nactivation=linear\n",
    "reorg": "[reorg]\nstride=2\n",
}


@needs_opencv_importer
@pytest.mark.parametrize("name", SECTIONS)
def test_raw_maps_equal_opencv(name: str) -> None:
    text = EIGHT + SECTIONS[name] + YOLO
    small = network(text)
    weights = random_weights(small)

    (found,) = lookonce_outputs(small, weights, IMAGES[:1])[1]

    (expected,) = opencv_raw_maps(in_memory(NET + text, weights), small, IMAGES[:1])
    assert expected.std() > 0.02
    assert relative_error(found, expected) < 1e-4


DETECTORS = {
    "new_coords": HEAD.replace("linear", "logistic")
    + "[yolo]\nmask=0,1\nnew_coords=1\nscale_x_y=2\n"
    + ANCHORS,
    "region": HEAD + "[region]\nsoftmax=1\nthresh=0.001\nanchors=0.4,0.5, 1,0.8\nclasses=2\nnum=2\n",
    "yolo": HEAD + "[yolo]\nmask=0,1\nscale_x_y=1.2\n" + ANCHORS,
}


@needs_opencv_importer
@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize(("width", "height"), [(64, 96), (60, 92)], ids=["whole cells", "broken cells"])
def test_boxes_and_scores_equal_opencv(name: str, width: int, height: int) -> None:
    net = NET.replace("64", str(width)).replace("96", str(height))
    text = net + EIGHT.replace("stride=8", "stride=8\npad=1") + DETECTORS[name]
    small = resolve(parse_cfg(text, "x.cfg"))
    weights = random_weights(small)
    image = np.random.default_rng(1).integers(0, 256, (1, height, width, 3), dtype=np.uint8)

    (found,) = lookonce_outputs(small, weights, image)[0]

    imported = in_memory(text, weights)
    imported.setInput(cv2.dnn.blobFromImages(list(image), 1 / 255.0))
    rows = imported.forward(imported.getUnconnectedOutLayersNames())[0]
    center, sides = rows[:, :2] * (width, height), rows[:, 2:4] * (width, height)
    assert found.shape == (len(rows), 7)
    np.testing.assert_allclose(found[:, :4], np.hstack([center - sides / 2, center + sides / 2]), atol=1e-3)
    scores = found[:, 4:5] * found[:, 5:]
    shown = rows[:, 5:] > 0  # OpenCV sets scores below a threshold to 0
    assert shown.mean() > 0.2
    np.testing.assert_allclose(scores[shown], rows[:, 5:][shown], atol=1e-5)


def test_uncertainty_lowers_the_score_of_gaussian_boxes() -> None:
    head = HEAD.replace("14", "22") + "[Gaussian_yolo]\nmask=0,1\n" + ANCHORS
    small = network(EIGHT + head)

    (found, _), ((raw, _),) = lookonce_outputs(small, random_weights(small), IMAGES)

    assert raw.shape == (22, 12, 8)
    t = raw.reshape(2, 11, 12, 8).transpose(2, 3, 0, 1).astype(np.float64)  # rows, columns, anchors
    s = 1 / (1 + np.exp(-t))
    corner = np.stack(np.meshgrid(range(8), range(12)), axis=-1)[:, :, None]
    center = (s[..., [0, 2]] + corner) * 8
    sides = np.exp(t[..., [4, 6]]) * ((4, 5), (10, 8))
    objectness = s[..., 8:9] * (1 - s[..., [1, 3, 5, 7]].mean(axis=-1, keepdims=True))
    expected = np.concatenate([center - sides / 2, center + sides / 2, objectness, s[..., 9:]], axis=-1)
    np.testing.assert_allclose(found, expected.reshape(-1, 7), rtol=1e-4, atol=1e-4)


def test_dilation_shared_weights_averages_and_reorg3d_equal_torch() -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    text = (
        EIGHT
        + "[convolutional]\nfilters=8\nsize=3\nstride=1\npad=1\nactivation=linear\n"
        + "[convolutional]\nshare_index=1\ndilation=2\nfilters=8\nsize=3\nstride=1\npad=1\nactivation=tanh\n"
        + "[local_avgpool]\nsize=3\nstride=1\n[reorg3d]\nstride=2\n"
    )
    small = network(text + YOLO)
    weights = random_weights(small)
    assert len(weights) == 3
    kernels = [(torch.tensor(each.kernel), torch.tensor(each.bias)) for each in weights]

    x = torch.tensor(IMAGES).permute(0, 3, 1, 2) / 255
    x = functional.leaky_relu(functional.conv2d(x, *kernels[0], stride=8), 0.1)
    x = functional.conv2d(x, *kernels[1], padding=1)
    x = torch.tanh(functional.conv2d(x, *kernels[1], padding=2, dilation=2))
    x = functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
    quarters = [x[:, :, row::2, column::2] for row in (0, 1) for column in (0, 1)]
    expected = functional.conv2d(torch.cat(quarters, dim=1), *kernels[2])

    (found,) = lookonce_outputs(small, weights, IMAGES)[1]
    assert relative_error(found, expected.numpy()) < 1e-5


def test_a_gray_network_sees_the_luma() -> None:
    gray = resolve(parse_cfg(NET.replace("channels=3", "channels=1") + EIGHT + YOLO, "x.cfg"))
    weights = random_weights(gray)
    kernel = weights[0].kernel
    assert kernel.shape == (8, 1, 8, 8)
    spread = ConvWeights(np.concatenate([0.299 * kernel, 0.587 * kernel, 0.114 * kernel], 1), weights[0].bias)

    (found,) = lookonce_outputs(gray, weights, IMAGES)[1]

    (expected,) = lookonce_outputs(network(EIGHT + YOLO), [spread, *weights[1:]], IMAGES)[1]
    assert relative_error(found, expected) < 1e-5


def test_xnor_equals_numpy() -> None:
    xnor = "[convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\npad=1\nxnor=1\nactivation=leaky\n"
    small = network(EIGHT.replace("8\nstride", "8\nxnor=0\nstride") + xnor + YOLO)
    weights = random_weights(small)
    assert (weights[1].batch_norm.gamma > 0).all()
    weights[1].batch_norm.gamma[::2] *= -1

    (found,) = lookonce_outputs(small, weights, IMAGES)[1]

    x = IMAGES.transpose(0, 3, 1, 2) / 255
    blocks = x.reshape(2, 3, 12, 8, 8, 8)  # one window per cell, because stride and size are 8
    x = np.einsum("bcyixj,ocij->boyx", blocks, weights[0].kernel) + weights[0].bias[:, None, None]
    x = np.where(x > 0, x, 0.1 * x)
    assert 0.1 < (x > 0).mean() < 0.9
    binary = np.pad(np.where(x > 0, 1, -1), ((0, 0), (0, 0), (1, 1), (1, 1)))  # the border stays 0
    kernel = weights[1].kernel
    kernel = np.sign(kernel) * np.abs(kernel).mean((1, 2, 3), keepdims=True)
    windows = np.lib.stride_tricks.sliding_window_view(binary, (3, 3), (2, 3))
    x = np.einsum("bcyxij,ocij->boyx", windows, kernel)
    norm = weights[1].batch_norm
    x = (x - norm.mean[:, None, None]) / np.sqrt(norm.variance + 1e-5)[:, None, None]
    x = x * norm.gamma[:, None, None] + weights[1].bias[:, None, None]
    x = np.where(x > 0, x, 0.1 * x)
    expected = np.einsum("bcyx,oc->boyx", x, weights[2].kernel[:, :, 0, 0]) + weights[2].bias[:, None, None]
    assert relative_error(found, expected) < 1e-5


# animal (dog (hound, poodle), cat), vehicle (car, bus): two roots, groups of different sizes
TREE = "animal -1\nvehicle -1\ndog 0\ncat 0\ncar 1\nbus 1\ntram 1\nhound 2\npoodle 2\n"


def darknets_choice(logits: np.ndarray) -> int:
    """Descend TREE as in Darknet's hierarchy_predictions, with its threshold of 0.5."""
    parents = [int(line.split()[1]) for line in TREE.splitlines()]
    probabilities = np.zeros(9)
    for group in ([0, 1], [2, 3], [4, 5, 6], [7, 8]):
        powers = np.exp(logits[group] - logits[group].max())
        probabilities[group] = powers / powers.sum()
    for child, parent in enumerate(parents):
        if parent >= 0:
            probabilities[child] *= probabilities[parent]
    above = np.flatnonzero(probabilities > 0.5)
    return int(above[-1]) if len(above) else int(probabilities[:2].argmax())


@pytest.mark.parametrize("planes", [False, True])
def test_a_tree_of_classes_gives_darknets_class(tmp_path: Path, planes: bool) -> None:
    (tmp_path / "words.tree").write_text(TREE)
    head = HEAD.replace("14", "28")
    region = "[region]\nanchors=0.4,0.5, 1,0.8\nclasses=9\nnum=2\nsoftmax=1\ntree=data/words.tree\nmap=m\n"
    (tmp_path / "x.cfg").write_text(NET + EIGHT + head + region)
    small = resolve(read_cfg(tmp_path / "x.cfg"))
    weights = random_weights(small)
    weights[1].kernel[:] *= 8  # so that some probabilities are high

    candidates, (raw,) = lookonce_outputs(small, weights, IMAGES, planes=planes)

    count = len(candidates)
    t = raw.reshape(count, 2, 14, 12, 8).transpose(0, 3, 4, 1, 2).reshape(count, -1, 14)
    expected = np.eye(9)[[[darknets_choice(each[5:]) for each in image] for image in t]]
    assert len(np.unique(expected.argmax(-1))) > 4
    np.testing.assert_array_equal(candidates[..., 5:], expected)
    np.testing.assert_allclose(candidates[..., 4], 1 / (1 + np.exp(-t[..., 4])), rtol=1e-4, atol=1e-6)


def test_a_tree_is_described_and_dropped_for_other_classes(tmp_path: Path) -> None:
    (tmp_path / "words.tree").write_text(TREE)
    region = "[region]\nanchors=1,0.8\nclasses=9\nsoftmax=1\ntree=words.tree\n"
    (tmp_path / "x.cfg").write_text(NET + EIGHT + HEAD + region)
    cfg = read_cfg(tmp_path / "x.cfg")

    assert parse_cfg(cfg.text, "x").layers[2].parents == (-1, -1, 0, 0, 1, 1, 1, 2, 2)
    other = with_heads(cfg, 3, (96, 64)).scales[0].section
    assert (other.form, other.parents, other.classes) == ("region", (), 3)
    (tmp_path / "words.tree").write_text(TREE + "boat\n")
    with pytest.raises(ModelFileError, match=r"words.tree:10: expected a name and a parent's number"):
        read_cfg(tmp_path / "x.cfg")
    (tmp_path / "words.tree").unlink()
    with pytest.raises(
        ModelFileError, match=r"x.cfg:\d+: \[region\] needs the tree .* tree=words.tree: no such"
    ):
        read_cfg(tmp_path / "x.cfg")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (EIGHT + "[shortcut]\nfrom=-9\n", "points to layer -9"),
        (EIGHT + FOUR + "[maxpool]\nstride=2\n[shortcut]\nfrom=-2\n", "different sizes: 4x6x4, 4x12x8"),
        (EIGHT + FOUR + "[scale_channels]\nfrom=-2\n", "cannot scale 8x12x8 by 4x12x8"),
        (EIGHT + FOUR + "[sam]\nfrom=-2\n", "different shapes: 4x12x8, 8x12x8"),
        (EIGHT + "[reorg3d]\nstride=5\n", "cannot cut 8x12x8 into squares of 5"),
        (EIGHT + FOUR + "[reorg]\nstride=4\n", "cannot cut 4x12x8 into squares of 4"),
        (EIGHT + "[reorg]\nstride=2\nreverse=1\n", "reverse=1 is not supported"),
        (EIGHT + FOUR.replace("leaky", "leaky\nshare_index=0"), "shares the weights of layer 0"),
        (HEAD + "[region]\ntree=-1,2,-1\n" + ANCHORS, "the parent of class 1 in its tree before it, found 2"),
        (HEAD + "[region]\ntree=-1,-1,0\n" + ANCHORS, "expected a tree of 2 classes, found one of 3"),
        (
            EIGHT + "[crnn]\noutput=8\n",
            r"\[crnn\] is a recurrent layer, which needs a video's frames in order",
        ),
        (HEAD + "[region]\ncoords=5\n" + ANCHORS, "coords=5 is not supported"),
    ],
)
def test_an_impossible_section_names_its_line(text: str, message: str) -> None:
    with pytest.raises(ModelFileError, match=message):
        network(text)
