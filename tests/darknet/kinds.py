"""Small networks, one per kind of Darknet detector, written for the tests."""

import numpy as np

from lookonce.darknet.cfg import parse_cfg
from lookonce.darknet.network import Network
from lookonce.darknet.resolve import resolve

ANCHORS = {
    16: ((9, 12), (20, 14), (24, 30)),
    32: ((30, 52), (61, 44), (80, 90)),
    8: ((4, 5), (6, 9), (12, 7)),
}


def conv(filters: int, size: int = 1, stride: int = 1, activation: str = "leaky", **keys: object) -> str:
    """Return a convolution that keeps the size, with batch normalization."""
    extra = "".join(f"{key}={value}\n" for key, value in keys.items())
    return (
        f"[convolutional]\nbatch_normalize=1\nfilters={filters}\nsize={size}\nstride={stride}\npad=1\n"
        f"activation={activation}\n{extra}"
    )


def head(stride: int, kind: str = "yolo", activation: str = "linear", **keys: object) -> str:
    """Return the last convolution of a scale, and its [yolo] with two of three anchors and two classes."""
    classes = 2
    columns = (9 if kind == "Gaussian_yolo" else 5) + classes
    filters = (3 if kind == "region" else 2) * columns
    cells = 32 if kind == "region" else 1
    sides = ",".join(f"{side / cells:g}" for anchor in ANCHORS[stride] for side in anchor)
    mask = "" if kind == "region" else "mask=0,2\n"
    extra = "".join(f"{key}={value}\n" for key, value in keys.items())
    return (
        f"[convolutional]\nfilters={filters}\nsize=1\nstride=1\npad=1\nactivation={activation}\n"
        f"[{kind}]\n{mask}anchors={sides}\nclasses={classes}\nnum=3\n{extra}"
    )


def net(channels: int = 3) -> str:
    return f"[net]\nwidth=64\nheight=96\nchannels={channels}\nlearning_rate=0.001  # comment\n\n"


def to_16(activation: str = "leaky") -> str:
    """Return layers 0 to 3: four convolutions down to stride 16."""
    return "".join(conv(8, 3, stride=2, activation=activation) for _ in range(4))


KINDS = {
    # two scales, coarsest first, joined by upsampling
    "tiny": net()
    + to_16()
    + conv(16, 3, stride=2)
    + head(32)
    + "[route]\nlayers=-3\n"
    + conv(8)
    + "[upsample]\nstride=2\n[route]\nlayers=-1,3\n"
    + head(16),
    # pooling, and a third, finer scale
    "three scales": net()
    + conv(8, 3, stride=2)
    + conv(8, 3, stride=2)
    + conv(8, 3, stride=2)
    + "[maxpool]\nsize=2\nstride=2\n"
    + conv(8, 3)
    + "[maxpool]\nsize=2\nstride=2\n[maxpool]\nsize=2\nstride=1\n"
    + conv(8)
    + head(32)
    + "[route]\nlayers=4\n"
    + head(16)
    + "[route]\nlayers=2\n"
    + head(8),
    # halves of the channels, as in yolov4-tiny
    "v4-tiny": net()
    + to_16()
    + conv(16, 3)
    + "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n"
    + conv(8, 3)
    + conv(8, 3)
    + "[route]\nlayers=-1,-2\n"
    + conv(16)
    + "[route]\nlayers=4,-1\n[maxpool]\nsize=2\nstride=2\n"
    + conv(16, 3)
    + head(32, scale_x_y=1.05)
    + "[route]\nlayers=10\n"
    + head(16, scale_x_y=1.05),
    # cross-stage parts, mish, pyramid pooling and new_coords, as in yolov4-csp
    "csp": net()
    + to_16("mish")
    + conv(8, activation="mish")
    + "[route]\nlayers=-2\n"
    + conv(8, activation="mish")
    + conv(8, 3, activation="mish")
    + "[shortcut]\nfrom=-2\nactivation=linear\n[route]\nlayers=-1,4\n"
    + "[maxpool]\nsize=5\nstride=1\n[route]\nlayers=-2\n[maxpool]\nsize=3\nstride=1\n[route]\nlayers=-1,-3\n"
    + conv(8, activation="swish")
    + head(16, activation="logistic", new_coords=1, scale_x_y=2.0),
    # shortcuts of unequal channels, as in yolov3-tiny-prn
    "prn": net()
    + to_16()
    + conv(12, 3)
    + "[shortcut]\nfrom=-2\nactivation=leaky\n"
    + conv(4, 3)
    + "[shortcut]\nfrom=-2,-4\nactivation=linear\n"
    + head(16),
    # depth-wise convolutions and relu6, as in MobileNetV2-YOLO
    "mobilenet": net()
    + to_16("relu6")
    + conv(24, activation="relu6")
    + conv(24, 3, activation="relu6", groups=24)
    + conv(8, activation="linear")
    + "[shortcut]\nfrom=-4\nactivation=linear\n"
    + conv(16, 3, stride=2, activation="relu6", groups=8)
    + head(32, scale_x_y=1.1),
    # depth-wise convolutions, dropout, few channels, as in yolo-fastest
    "fastest": net()
    + to_16()
    + conv(8, 3, groups=8)
    + conv(4, activation="linear")
    + conv(8)
    + "[dropout]\nprobability=.2\n[shortcut]\nfrom=-5\nactivation=linear\n"
    + head(16),
    # squeeze and excitation without normalization, swish, as in enet-coco
    "enet": net()
    + to_16("swish")
    + "[avgpool]\n[convolutional]\nfilters=4\nsize=1\nstride=1\nactivation=swish\n"
    + "[convolutional]\nfilters=8\nsize=1\nstride=1\nactivation=logistic\n[scale_channels]\nfrom=3\n"
    + head(16),
    # one scale with anchors in cells, softmax, [reorg] as computed by Darknet, as in YOLOv2
    "region": net()
    + to_16()
    + conv(16, 3, stride=2)
    + "[route]\nlayers=3\n[reorg]\nstride=2\n[route]\nlayers=-1,4\n"
    + head(32, kind="region", softmax=1),
    "region_logistic": net() + to_16() + conv(16, 3, stride=2) + head(32, kind="region"),
    "gaussian": net() + to_16() + head(16, kind="Gaussian_yolo"),
    # weights shared by layers with different dilations, as in resnet152_trident
    "trident": net()
    + to_16("relu")
    + conv(8, 3, activation="relu")
    + "[route]\nlayers=-2\n"
    + conv(8, 3, activation="relu", share_index=4, dilation=2)
    + "[shortcut]\nfrom=-3\nactivation=leaky\n"
    + head(16),
    # spatial attention, squares of cells as channels, as in yolov4-sam-mish-csp-reorg-bfm
    "sam": net()
    + conv(8, 3, stride=2, activation="mish")
    + "[reorg3d]\nstride=2\n"
    + conv(8, 3, stride=4, activation="elu")
    + conv(8, activation="logistic")
    + "[sam]\nfrom=-2\nactivation=linear\n[local_avgpool]\nsize=3\nstride=1\n"
    + conv(8, activation="tanh")
    + head(16),
    # binary weights and inputs, as in tiny-yolo_xnor
    "xnor": net()
    + to_16()
    + conv(16, 3, xnor=1, bin_output=1)
    + "[maxpool]\nsize=2\nstride=1\n"
    + conv(8, 3, xnor=1)
    + head(16),
    # one input channel, and layers that no head uses
    "gray": net(1) + to_16() + conv(8) + "[contrastive]\n[route]\nlayers=3\n" + conv(8, 3) + head(16),
}  # fmt: skip
UNREAD = {"gray": {4}}  # layers without a head


def kind(name: str) -> Network:
    """Return the resolved network of a kind."""
    return resolve(parse_cfg(KINDS[name], f"{name}.cfg"))


def noise(batch: int = 1, size: tuple[int, int] = (96, 64)) -> np.ndarray:
    """Return images (B, H, W, 3) of noise."""
    return np.random.default_rng(1).integers(0, 256, (batch, *size, 3), dtype=np.uint8)
