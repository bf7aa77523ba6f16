"""The three networks of lookonce as `.cfg` text, and a test whether a `.cfg` is one of them.

Legend: **C** classes. Full channel counts, before the width factor, are those of the official files.
"""

from dataclasses import replace

from lookonce.darknet.cfg import LayerSection, Route, Shortcut, parse_cfg
from lookonce.darknet.network import ConvSpec, Layer, Network, resolve
from lookonce.errors import ModelFileError
from lookonce.metadata import BN_EPSILON, DARKNET53_STAGES, ModelInfo, scaled_channels
from lookonce.networks import NETWORKS

NECK = (512, 256, 128)  # narrow channels of the scales, coarse to fine
DEEPEST = 1024  # channels at the end of the backbone in all three


def classic_cfg(info: ModelInfo) -> str:
    """Return the `.cfg` of one of the three networks with any width, classes, anchors and input size."""
    text = _Text(info)
    if info.architecture == "yolov3-tiny":
        _tiny(text)
    else:
        _yolov3(text, spp=info.architecture == "yolov3-spp")
    return "\n".join(text.lines)


def recognise(network: Network) -> tuple[str, float] | None:
    """Return architecture and width of a `.cfg` that is one of the three networks; None for any other."""
    for architecture, layout in NETWORKS.items():
        if (len(network.convolutions), len(network.scales)) == (layout.convolutions, len(layout.strides)):
            for width in _widths(network.convolutions[layout.backbone - 1]):
                if _is(network, architecture, width):
                    return architecture, width
    return None


class _Text:
    """Builder of a `.cfg`, layer by layer."""

    def __init__(self, info: ModelInfo) -> None:
        self._info = info
        self._scales = list(range(len(info.strides)))  # the coarsest comes first in the file
        self.layers = 0
        self.lines = [
            f"# Written by lookonce: {info.architecture}, width {info.width:g}, {len(info.names)} classes",
            _net(info),
        ]

    def add(self, kind: str, **keys: object) -> int:
        """Append a section; return its layer number."""
        self.lines += [f"[{kind}]", *(f"{key.rstrip('_')}={value}" for key, value in keys.items()), ""]
        self.layers += 1
        return self.layers - 1

    def channels(self, full: int) -> int:
        """Scale a full channel count by the model's width."""
        return scaled_channels(full, self._info.width)

    def convolution(self, filters: int, size: int, stride: int = 1) -> int:
        """Append a convolution with batch normalization and leaky ReLU."""
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
        """Append the last convolution of the next finer scale, and its [yolo]."""
        scale, info = self._scales.pop(), self._info
        first = sum(len(anchors) for anchors in info.anchors[:scale])
        mask = range(first, first + len(info.anchors[scale]))
        sides = [side for anchors in info.anchors for anchor in anchors for side in anchor]
        filters = len(mask) * (5 + len(info.names))
        self.add("convolutional", filters=filters, size=1, stride=1, pad=1, activation="linear")
        self.add(
            "yolo",
            mask=",".join(map(str, mask)),
            anchors=",".join(map(_short, sides)),
            classes=len(info.names),
            num=len(sides) // 2,
            jitter=0.3,
            ignore_thresh=0.7,
            truth_thresh=1,
            random=1,
        )

    def go_finer(self, filters: int, skip: int) -> None:
        """Append the way from the features before a head to the next finer scale, joined with a layer."""
        self.add("route", layers=-4)
        self.convolution(filters, 1)
        self.add("upsample", stride=2)
        self.add("route", layers=f"-1,{skip}")


def _net(info: ModelInfo) -> str:
    """Return [net]: the input size, and the training settings of the official files, for use in Darknet."""
    height, width = info.input_size
    return f"""\
# Batch normalization: for programs that add {BN_EPSILON:g} to the variance, as OpenCV and lookonce do.
[net]
batch=1
subdivisions=1
width={width}
height={height}
channels=3
letter_box={info.fit == "letterbox":d}
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


def _yolov3(text: _Text, *, spp: bool) -> None:
    text.convolution(text.channels(32), 3)
    ends = []
    for repeats, full in DARKNET53_STAGES:
        wide = text.channels(full)
        end = text.convolution(wide, 3, stride=2)
        for _ in range(repeats):
            text.convolution(wide // 2, 1)
            text.convolution(wide, 3)
            end = text.add("shortcut", from_=-3, activation="linear")
        ends.append(end)
    skips = [ends[3], ends[2]]  # strides 16 and 8
    for scale, full in enumerate(NECK):
        if scale:
            text.go_finer(text.channels(full), skips[scale - 1])
        _scale(text, text.channels(full), spp=spp and scale == 0)
        text.head()


def _scale(text: _Text, narrow: int, *, spp: bool) -> None:
    """Append five convolutions that the next scale shares, and the 3x3 before the head."""
    text.convolution(narrow, 1)
    text.convolution(2 * narrow, 3)
    text.convolution(narrow, 1)
    if spp:
        _pyramid(text)
        text.convolution(narrow, 1)
    text.convolution(2 * narrow, 3)
    text.convolution(narrow, 1)
    text.convolution(2 * narrow, 3)


def _pyramid(text: _Text) -> None:
    """Append the maxima over 5, 9 and 13 cells of a layer, concatenated as 13, 9, 5, input."""
    for size, back in ((5, -2), (9, -4)):
        text.add("maxpool", stride=1, size=size)
        text.add("route", layers=back)
    text.add("maxpool", stride=1, size=13)
    text.add("route", layers="-1,-3,-5,-6")


def _tiny(text: _Text) -> None:
    skip = 0
    for full in (16, 32, 64, 128, 256, 512):
        last = text.convolution(text.channels(full), 3)
        skip = last if full == 256 else skip
        text.add("maxpool", size=2, stride=1 if full == 512 else 2)
    text.convolution(text.channels(1024), 3)
    text.convolution(text.channels(256), 1)
    text.convolution(text.channels(512), 3)
    text.head()
    text.go_finer(text.channels(128), skip)
    text.convolution(text.channels(256), 3)
    text.head()


def _short(number: float) -> str:
    """Format 12.0 as `12`, anything else in full."""
    return str(int(number)) if number == int(number) else repr(number)


def _widths(deepest: ConvSpec) -> list[float]:
    """Return the width factors that explain the last channels of a backbone, the roundest first."""
    exact = deepest.filters / DEEPEST
    return [width for digits in range(1, 6) if (width := round(exact, digits)) > 0]


def _is(network: Network, architecture: str, width: float) -> bool:
    """Return whether a network equals one of the three with its classes, anchors and input size."""
    info = ModelInfo(
        architecture,
        names=("",) * network.classes,
        anchors=tuple(scale.anchors for scale in network.scales),
        strides=tuple(scale.stride for scale in network.scales),
        input_size=(network.cfg.net.height, network.cfg.net.width),
        width=width,
    )
    try:
        classic = resolve(parse_cfg(classic_cfg(info), network.cfg.file))
    except ModelFileError:  # an input size that only the other network accepts
        return False
    return _parts(network) == _parts(classic)


def _parts(network: Network) -> list[tuple[LayerSection, tuple[int, ...]]]:
    """Return everything that identifies a network: its sections and their inputs, independent of notation."""
    return [(_unwritten(layer), layer.sources) for layer in network.layers]


def _unwritten(layer: Layer) -> LayerSection:
    section = layer.section
    return replace(section, layers=()) if isinstance(section, Route | Shortcut) else section
