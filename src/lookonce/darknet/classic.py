"""Write the named networks as `.cfg`, and recognize them in other `.cfg` files.

Numbers of channels are those of the official files, before the width factor.
"""

from dataclasses import replace

from lookonce._counted import counted
from lookonce.darknet.cfg import parse_cfg
from lookonce.darknet.ini import short_number
from lookonce.darknet.network import Network
from lookonce.darknet.resolve import resolve
from lookonce.darknet.sections import LayerSection, Route, Shortcut
from lookonce.errors import ModelFileError
from lookonce.metadata import BN_EPSILON, DARKNET53_STAGES, ModelInfo, scaled_channels
from lookonce.networks import NETWORKS

NECK = (512, 256, 128)  # channels of the 1x1 convolutions of each scale, from coarse to fine
DEEPEST = 1024  # channels at the end of the backbone of every named network

EPSILON_REMARK = (
    f"# Batch normalization: for programs that add {BN_EPSILON:g} to the variance, as OpenCV and lookonce do."
)
# The input, and the training settings of the official files, for training with Darknet.
NET = f"""\
{EPSILON_REMARK}
[net]
batch=1
subdivisions=1
width={{width}}
height={{height}}
channels=3
letter_box={{letter_box:d}}
momentum=0.9
decay=0.0005
angle=0
saturation=1.5
exposure=1.5
hue=.1
learning_rate=0.001
burn_in=1000
max_batches=500200
policy=steps
steps=400000,450000
scales=.1,.1
"""


def classic_cfg(info: ModelInfo) -> str:
    """Return the `.cfg` of a named network with the width, classes, anchors and input size of `info`."""
    text = CfgText(info)
    if info.architecture.startswith("yolov3-tiny"):
        text.tiny(fine=info.architecture == "yolov3-tiny-3l")
    else:
        text.yolov3(spp=info.architecture == "yolov3-spp")
    return "\n".join(text.lines)


def recognize(network: Network) -> tuple[str, float] | None:
    """Return the architecture and width of a named network; None for any other."""
    if network.cfg.net.channels != 3:
        return None
    for architecture, layout in NETWORKS.items():
        if (len(network.convolutions), len(network.scales)) != (layout.convolutions, len(layout.strides)):
            continue
        exact = network.convolutions[layout.backbone - 1].filters / DEEPEST
        for width in (round(exact, digits) for digits in range(1, 6)):  # the shortest number first
            info = ModelInfo(
                architecture,
                names=("",) * network.classes,
                anchors=tuple(scale.anchors for scale in network.scales),
                strides=tuple(scale.stride for scale in network.scales),
                input_size=(network.cfg.net.height, network.cfg.net.width),
                width=width or 1.0,
            )
            try:
                classic = resolve(parse_cfg(classic_cfg(info), network.cfg.file))
            except ModelFileError:  # the named network does not accept this input size
                continue
            if layers_of(network) == layers_of(classic):
                return architecture, info.width
    return None


def layers_of(network: Network) -> list[tuple[LayerSection, tuple[int, ...]]]:
    """Return the layers' sections and inputs, in a form that does not depend on how inputs are written."""
    return [
        (
            replace(layer.section, layers=())
            if isinstance(layer.section, Route | Shortcut)
            else layer.section,
            layer.sources,
        )
        for layer in network.layers
    ]


class CfgText:
    """Builds the text of a `.cfg` layer by layer.

    Attributes:
        info: description of the model.
        scales: indices of the scales without a head so far; the last one is the coarsest.
        lines: lines of the text so far.
        layers: number of layers so far.
    """

    def __init__(self, info: ModelInfo) -> None:
        self.info = info
        self.scales = list(range(len(info.strides)))  # the coarsest comes first in the file
        self.layers = 0
        height, width = info.input_size
        self.lines = [
            f"# Written by lookonce: {info.architecture}, width {info.width:g}, "
            f"{counted(len(info.names), 'class')}",
            NET.format(width=width, height=height, letter_box=info.fit == "letterbox"),
        ]

    def add(self, kind: str, **keys: object) -> int:
        """Append a section and return its layer number."""
        self.lines += [f"[{kind}]", *(f"{key.rstrip('_')}={value}" for key, value in keys.items()), ""]
        self.layers += 1
        return self.layers - 1

    def channels(self, full: int) -> int:
        """Multiply a number of channels by the model's width factor."""
        return scaled_channels(full, self.info.width)

    def convolution(self, filters: int, size: int, stride: int = 1) -> int:
        """Append a convolution with batch normalization and leaky ReLU, and return its layer number."""
        return self.add(
            "convolutional",
            batch_normalize=1,
            filters=filters,
            size=size,
            stride=stride,
            pad=1,
            activation="leaky",
        )

    def head(self) -> None:
        """Append the last convolution and the [yolo] of the coarsest scale without a head."""
        scale, info = self.scales.pop(), self.info
        first = sum(len(anchors) for anchors in info.anchors[:scale])
        mask = range(first, first + len(info.anchors[scale]))
        sides = [side for anchors in info.anchors for anchor in anchors for side in anchor]
        filters = len(mask) * (5 + len(info.names))
        self.add("convolutional", filters=filters, size=1, stride=1, pad=1, activation="linear")
        self.add(
            "yolo",
            mask=",".join(map(str, mask)),
            anchors=",".join(map(short_number, sides)),
            classes=len(info.names),
            num=len(sides) // 2,
            jitter=0.3,
            ignore_thresh=0.7,
            truth_thresh=1,
            random=1,
        )

    def go_finer(self, filters: int, skip: int, back: int = -4) -> None:
        """Append the layers that lead from the features before a head to the next finer scale."""
        self.add("route", layers=back)
        self.convolution(filters, 1)
        self.add("upsample", stride=2)
        self.add("route", layers=f"-1,{skip}")

    def yolov3(self, *, spp: bool) -> None:
        """Append Darknet-53 and three scales; `spp` adds pooling over 5, 9 and 13 cells to the coarsest."""
        self.convolution(self.channels(32), 3)
        ends = []
        for repeats, full in DARKNET53_STAGES:
            wide = self.channels(full)
            end = self.convolution(wide, 3, stride=2)
            for _ in range(repeats):
                self.convolution(wide // 2, 1)
                self.convolution(wide, 3)
                end = self.add("shortcut", from_=-3, activation="linear")
            ends.append(end)
        skips = [ends[3], ends[2]]  # strides 16 and 8
        for scale, full in enumerate(NECK):
            narrow = self.channels(full)
            if scale:
                self.go_finer(narrow, skips[scale - 1])
            self.convolution(narrow, 1)
            self.convolution(2 * narrow, 3)
            self.convolution(narrow, 1)
            if spp and scale == 0:
                for size, back in ((5, -2), (9, -4)):
                    self.add("maxpool", stride=1, size=size)
                    self.add("route", layers=back)
                self.add("maxpool", stride=1, size=13)
                self.add("route", layers="-1,-3,-5,-6")
                self.convolution(narrow, 1)
            self.convolution(2 * narrow, 3)
            self.convolution(narrow, 1)  # the next scale continues from here
            self.convolution(2 * narrow, 3)
            self.head()

    def tiny(self, *, fine: bool) -> None:
        """Append the backbone of YOLOv3-tiny and two scales, or three if `fine`."""
        skips = {}
        for full in (16, 32, 64, 128, 256, 512):
            skips[full] = self.convolution(self.channels(full), 3)
            self.add("maxpool", size=2, stride=1 if full == 512 else 2)
        self.convolution(self.channels(1024), 3)
        self.convolution(self.channels(256), 1)
        self.convolution(self.channels(512), 3)
        self.head()
        self.go_finer(self.channels(128), skips[256])
        self.convolution(self.channels(256), 3)
        self.head()
        if fine:
            self.go_finer(self.channels(128), skips[128], back=-3)
            self.convolution(self.channels(128), 3)
            self.head()
