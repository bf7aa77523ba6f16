"""The ncnn backend: runs what `lookonce export --to ncnn` writes, one image at a time.

ncnn trusts its files: a manipulated one can make it read and write anywhere in memory. So the `.param` must
have exactly the lines that lookonce writes for the network in its description, and the `.ncnn.bin` must have
as many numbers as that network, all finite. Other files are rejected before ncnn reads them.

Legend: **B** batch, **A** anchors of a scale, **K** candidates of all scales, **C** classes, **S**, **T**
rows and columns of cells.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookonce._files import open_input, read_text
from lookonce._optional import require
from lookonce.darknet.described import network_of
from lookonce.darknet.ncnn_graph import (
    INPUT,
    RAW_NUMBERS,
    bin_counts,
    head_inputs,
    param_lines,
    sigmoid_of,
)
from lookonce.darknet.network import Network, Scale
from lookonce.darknet.resolve import resolve
from lookonce.errors import ModelFileError
from lookonce.geometry.decode import cell_corners, center_of, sides_of, sigmoid, softmax
from lookonce.metadata import LONGEST_DESCRIPTION, PARAM_DESCRIPTION, WEIGHTS_BESIDE, ModelInfo
from lookonce.runtime.backends import Arithmetic, InputShape, check_output, describe_content, engine_text
from lookonce.runtime.cpu import usable_cores
from lookonce.runtime.devices import AUTO
from lookonce.runtime.onnx_weights import PIECE, are_finite

LONGEST_PARAM = 2 * LONGEST_DESCRIPTION  # bytes; the lines before the description are shorter than its .cfg
WAITING = "OMP_WAIT_POLICY"  # environment variable
MOST_SIZES = 16  # input sizes with cells in memory
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """The cells and anchors of one scale at one input size.

    Attributes:
        corner: (S*T*A, 2) column and row of each candidate's cell.
        cell: (2,) width and height of a cell in input pixels.
        anchors: (S*T*A, 2) width and height of each candidate's anchor in input pixels.
    """

    corner: Floats
    cell: Floats
    anchors: Floats


class NcnnBackend:
    """Network in ncnn, decoding in numpy; see `runtime.backends.Backend`. Any thread may call it.

    Attributes:
        net: `ncnn.Net`; None after `close`.
        network: resolved network.
    """

    def __init__(
        self,
        path: Path,
        *,
        threads: int | None = None,
        arithmetic: Arithmetic = "float32",
        device: str = AUTO,
    ) -> None:
        """Open the file.

        Args:
            path: `.param` file with its `.ncnn.bin` beside it.
            threads: threads per image; None for one per core.
            arithmetic: `float32`, since `runtime.backends` rejects anything else.
            device: `auto` or `cpu`, since `runtime.backends` rejects anything else.

        Raises:
            ModelFileError: the file is of another kind, is damaged or changed, or was not written by this
                version of lookonce.
        """
        self._path = path
        self.info, self.network, text = read_param(path)
        self.input_shape: InputShape = (None, None, None)
        self.engine = engine_text("ncnn", self.info, arithmetic)
        weights = path.with_suffix(WEIGHTS_BESIDE[".param"])
        check_bin(weights, self.network)
        net = import_ncnn().Net()
        net.opt.num_threads = threads or usable_cores()
        net.opt.use_vulkan_compute = False
        for each in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
            setattr(net.opt, f"use_{each}", False)
        if net.load_param_mem(text) or net.load_model(str(weights)):
            raise ModelFileError(f"{path}: ncnn cannot load it; expected memory for its weights")
        self.net: Any = net
        self._cells: dict[tuple[int, int], list[_Cells]] = {}
        self._preparing = Lock()

    def __call__(self, images: NDArray[np.uint8]) -> Floats:
        """(B, H, W, 3) uint8 RGB -> (B, K, 5+C) float32; see `runtime.backends.Backend`.

        Raises:
            ModelFileError: the network does not support this size, ncnn fails, or its output is not finite.
            ValueError: the backend was closed.
        """
        return self._run(images, ())[0]

    def with_features(self, images: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """(B, H, W, 3) uint8 RGB -> candidates, and features (B, F); see `runtime.backends.Backend`."""
        return self._run(images, head_inputs(self.network, self._path))

    def close(self) -> None:
        """Free the network; calling afterwards is an error."""
        self.net = None

    def _run(self, images: NDArray[np.uint8], maps: Sequence[str]) -> tuple[Floats, Floats]:
        net = self.net  # a reference, so that `close` in another thread does not free it yet
        if net is None:
            raise ValueError(f"{self._path}: this backend was closed")
        height, width = images.shape[1:3]
        cells = self._cells_at((height, width))
        count = sum(len(each.corner) for each in cells)
        candidates = np.empty((len(images), count, 5 + len(self.info.names)), np.float32)
        features = []
        mat = import_ncnn().Mat
        for image, found in zip(np.ascontiguousarray(images), candidates, strict=True):
            given = mat.from_pixels(image, mat.PixelType.PIXEL_RGB, width, height)
            given.substract_mean_normalize([], [1 / 255] * 3)
            extractor = net.create_extractor()
            extractor.set_light_mode(not maps)  # frees intermediate outputs, which `maps` may need
            extractor.input(INPUT, given)
            features.append([self._extract(extractor, name).mean(axis=(1, 2)) for name in maps])
            start = 0
            for number, (scale, each) in enumerate(zip(self.network.scales, cells, strict=True)):
                end = start + len(each.corner)
                sides = None
                if sigmoid_of(scale) and scale.section.form != "new_coords":
                    sides = self._extract(extractor, f"sides_{number}")
                decode_rows(scale, each, self._extract(extractor, f"maps_{number}"), sides, found[start:end])
                start = end
        check_output(self._path, candidates, len(images), len(self.info.names))
        return candidates, np.array([np.concatenate(each) if each else [] for each in features], np.float32)

    def _extract(self, extractor: Any, name: str) -> Floats:
        failed, found = extractor.extract(name)
        if failed:
            raise ModelFileError(f"{self._path}: the engine failed: ncnn cannot compute {name} ({failed})")
        return np.asarray(found, np.float32)

    def _cells_at(self, size: tuple[int, int]) -> list[_Cells]:
        with self._preparing:
            if size not in self._cells:
                network = self.network
                net = network.cfg.net
                if size != (net.height, net.width):
                    network = resolve(network.cfg, size)
                if len(self._cells) >= MOST_SIZES:
                    self._cells.pop(next(iter(self._cells)))
                kept = []
                for scale in network.scales:
                    _, rows, columns = network.shape(scale.source)
                    corner = cell_corners(rows, columns).repeat(len(scale.anchors), axis=0)
                    anchors = np.tile(np.array(scale.anchors, np.float32), (rows * columns, 1))
                    kept.append(_Cells(corner, np.array(scale.cell, np.float32), anchors))
                self._cells[size] = kept
            return self._cells[size]


@cache
def import_ncnn() -> ModuleType:
    """Import ncnn with threads that sleep while they wait for each other.

    By default, threads spin at the end of each of about a hundred loops. On a machine with other work, two
    threads then take several times as long.

    Raises:
        MissingExtraError: ncnn is not installed.
    """
    given = os.environ.get(WAITING)
    os.environ.setdefault(WAITING, "passive")  # the library reads it once, when it is loaded
    try:
        return require("ncnn", "ncnn")
    finally:
        if given is None:
            del os.environ[WAITING]


def read_param(path: Path) -> tuple[ModelInfo, Network, str]:
    """Read a `.param` file; return the description, its network, and the text for ncnn.

    Raises:
        ModelFileError: the lines are not those that lookonce writes for the network in the description.
    """
    lines = read_text(path, ModelFileError, limit=LONGEST_PARAM).rstrip("\n").split("\n")
    if not lines[-1].startswith(PARAM_DESCRIPTION):
        found = describe_content(path, ValueError(f"its last line is {lines[-1][:60]!r}"))
        raise ModelFileError(
            f"{path}: expected an ncnn network that lookonce wrote, with its description in the last line, "
            f"found {found}"
        )
    info = ModelInfo.from_json(lines.pop().removeprefix(PARAM_DESCRIPTION), str(path))
    try:
        network = network_of(info)
        expected = param_lines(network)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error
    if lines != expected:
        pairs = enumerate(zip_longest(lines, expected), start=1)
        number = next(number for number, (line, own) in pairs if line != own)
        raise ModelFileError(
            f"{path}:{number}: expected the layers that this version of lookonce writes for the network in "
            "the description, found others; export the model again"
        )
    return info, network, "\n".join(lines) + "\n"


def check_bin(path: Path, network: Network) -> None:
    """Check the size of a `.ncnn.bin`, and every number in it.

    Raises:
        ModelFileError: the file is missing, has another size or compressed numbers, or a number is infinite
            or NaN.
    """
    counts = bin_counts(network)
    expected = 4 * (sum(counts) + len(counts))
    with open_input(path, ModelFileError) as stream:
        size = stream.seek(0, 2)
        if size != expected:
            raise ModelFileError(
                f"{path}: expected {expected:,} bytes, the weights of the .param beside it, found {size:,}"
            )
        stream.seek(0)
        buffer = memoryview(bytearray(PIECE))
        for count in counts:
            start = stream.tell()
            try:
                is_sound = stream.read(4) == RAW_NUMBERS and are_finite(stream, 4 * count, buffer)
            except ValueError:  # the file was truncated meanwhile
                is_sound = False
            if not is_sound:
                raise ModelFileError(
                    f"{path}: expected finite float32 numbers from byte {start:,} on, found others"
                )


def decode_rows(scale: Scale, cells: _Cells, maps: Floats, sides: Floats | None, found: Floats) -> None:
    """Decode the candidates of one scale into `found`, (S*T*A, 5+C).

    Args:
        scale: scale of the network.
        cells: cells and anchors of the scale.
        maps: output `maps` of the ncnn graph, (S*T*A, columns); see `darknet.ncnn_graph`.
        sides: output `sides` of the ncnn graph; None if there is none.
        found: array to fill.
    """
    columns, form = scale.decoding.columns, scale.section.form
    center = maps[:, 0:3:2] if form == "gaussian" else maps[:, :2]
    found[:, 4:] = maps[:, columns - 1 :]
    if form == "gaussian":
        found[:, 4] *= 1 - maps[:, 1:8:2].mean(axis=1)
    elif form == "region":
        center = sigmoid(center)
        found[:, 4] = sigmoid(maps[:, 4])
        found[:, 5:] = softmax(maps[:, 5:])
        sides = maps[:, 2:4]
    center = center_of(center, cells.corner, cells.cell, scale.section.scale_x_y)
    if sides is None:  # new_coords
        half = cells.anchors * (2 * maps[:, 2:4]) ** 2 / 2
    else:
        half = sides_of(sides[:, ::2] if form == "gaussian" else sides, cells.anchors) / 2
    found[:, :2], found[:, 2:4] = center - half, center + half
