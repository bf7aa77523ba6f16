"""Read and write `.weights`: a header, then float32 numbers in the order of the `.cfg`, little-endian.

```
  major, minor, revision   3 x int32     in 0.1.x, `seen` has 32 bits, in 0.2.x 64
  seen                     int32/int64   images seen in training
  per convolution          beta, gamma, mean, variance  or  bias     (out,) each
                           kernel                                    (out, in / groups, size, size)
```
"""

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce._files import open_input, replacing
from lookonce.darknet.ini import LFS_POINTER
from lookonce.darknet.network import ConvSpec
from lookonce.errors import ModelFileError
from lookonce.metadata import BN_EPSILON

Floats = NDArray[np.float32]
FLOAT = np.dtype("<f4")
VERSION = (0, 2, 0)  # version to write, which OpenCV and every Darknet since 2016 read


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a weight file.

    Attributes:
        version: major, minor, revision.
        seen: number of images seen in training.
        size: length of the header in bytes.
    """

    version: tuple[int, int, int]
    seen: int
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class BatchNorm:
    """Batch normalization as in the file, each array (out,); beta is `ConvWeights.bias`."""

    gamma: Floats
    mean: Floats
    variance: Floats


@dataclass(frozen=True, slots=True, eq=False)
class ConvWeights:
    """Weights of a convolution: kernel (out, in / groups, size, size), bias (out,), batch normalization."""

    kernel: Floats
    bias: Floats
    batch_norm: BatchNorm | None = None

    def in_file_order(self) -> tuple[Floats, ...]:
        """Return the arrays in file order."""
        if self.batch_norm is None:
            return self.bias, self.kernel
        return self.bias, self.batch_norm.gamma, self.batch_norm.mean, self.batch_norm.variance, self.kernel


def read_weights(
    path: Path, specs: Sequence[ConvSpec], *, partial: bool = False
) -> tuple[Header, list[ConvWeights]]:
    """Read a weight file. All arrays are views on one buffer of the file's size.

    Args:
        path: `.weights` file, or a backbone such as `darknet53.conv.74`.
        specs: convolutions of the `.cfg`, in file order.
        partial: whether the file may end after any convolution, which gives a shorter result.

    Raises:
        ModelFileError: the file is not a weight file, is too short (the message names the layer where it
            ends), or is too long.
    """
    try:
        with open_input(path, ModelFileError) as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            header = read_header(path, file.read(20))
            if (size - header.size) % FLOAT.itemsize:
                raise ModelFileError(
                    f"{path}: expected numbers of {FLOAT.itemsize} bytes after the header, found "
                    f"{size - header.size:,} bytes; the file is cut short or damaged"
                )
            specs = specs[: complete(path, (size - header.size) // FLOAT.itemsize, specs, partial)]
            file.seek(header.size)
            numbers = np.fromfile(file, FLOAT, sum(spec.numbers for spec in specs))
    except OSError as error:
        raise ModelFileError(f"{path}: expected a Darknet weight file: {error.strerror}") from error
    if len(numbers) != sum(spec.numbers for spec in specs):
        raise ModelFileError(f"{path}: became shorter while it was read")
    start, convolutions = 0, []
    for spec in specs:
        block = numbers[start : start + spec.numbers]
        start += spec.numbers
        out = spec.filters
        if spec.batch_normalize:
            beta, gamma, mean, variance = block[: 4 * out].reshape(4, out)
            kernel = block[4 * out :].reshape(spec.kernel_shape)
            convolutions.append(ConvWeights(kernel, beta, BatchNorm(gamma, mean, variance)))
        else:
            convolutions.append(ConvWeights(block[out:].reshape(spec.kernel_shape), block[:out]))
    return header, convolutions


def folded_arrays(weights: ConvWeights, epsilon: float) -> tuple[Floats, Floats]:
    """Return kernel and bias with the batch normalization folded into them.

    kernel' = kernel * gamma / sqrt(var + eps), bias' = beta - mean * gamma / sqrt(var + eps).
    """
    norm = weights.batch_norm
    if norm is None:
        return weights.kernel, weights.bias
    factor = (norm.gamma / np.sqrt(norm.variance.astype(np.float64) + epsilon)).astype(np.float32)
    return weights.kernel * factor[:, None, None, None], weights.bias - norm.mean * factor


def check_weights(path: Path, specs: Sequence[ConvSpec], convolutions: Sequence[ConvWeights]) -> None:
    """Check the numbers that `read_weights` returned, before a network is built from them.

    Raises:
        ModelFileError: a number is infinite or NaN, or a variance is below 0.
    """
    for spec, weights in zip(specs, convolutions, strict=False):
        finite = all(np.isfinite(array).all() for array in weights.in_file_order())
        norm = weights.batch_norm
        # `write.with_epsilon` turns a variance of 0 into -BN_EPSILON at the lowest
        if not finite or (norm is not None and norm.variance.min() < -BN_EPSILON):
            raise ModelFileError(
                f"{path}: layer {spec.layer} (line {spec.line} of the .cfg) holds numbers that are infinite, "
                "not a number, or a variance below 0; the file is damaged or belongs to another .cfg"
            )


def write_weights(path: Path, convolutions: Sequence[ConvWeights], seen: int = 0) -> None:
    """Write a weight file, from which `read_weights` returns the same numbers, bit by bit."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<3iq", *VERSION, seen))
        for convolution in convolutions:
            for array in convolution.in_file_order():
                np.ascontiguousarray(array, FLOAT).tofile(file)


def read_header(path: Path, start: bytes) -> Header:
    """Read the header of a weight file from its first 20 bytes.

    Raises:
        ModelFileError: the file is not a weight file, or has another version.
    """
    if start.lstrip()[:1] == b"<":
        raise ModelFileError(f"{path}: expected Darknet weights, found a web page saved under their name")
    if start.startswith(LFS_POINTER.encode()[: len(start)]) and start:
        raise ModelFileError(f"{path}: expected Darknet weights, found a Git LFS pointer; try `git lfs pull`")
    if len(start) < 20:
        raise ModelFileError(f"{path}: expected a header of 20 bytes, found a file of {len(start)}")
    major, minor, revision = struct.unpack_from("<3i", start)
    if major != 0 or minor not in (1, 2):
        raise ModelFileError(
            f"{path}: expected Darknet weights of version 0.1 or 0.2, found {major}.{minor}.{revision}"
        )
    form, size = ("<q", 20) if minor == 2 else ("<i", 16)
    return Header((major, minor, revision), struct.unpack_from(form, start, 12)[0], size)


def complete(path: Path, found: int, specs: Sequence[ConvSpec], partial: bool) -> int:
    """Return the number of convolutions in a file with `found` numbers.

    Raises:
        ModelFileError: the file is too short or too long, as in `read_weights`.
    """
    whole, expected = sum(spec.numbers for spec in specs), 0
    for index, spec in enumerate(specs):
        if partial and expected == found and index:
            return index
        expected += spec.numbers
        if found >= expected:
            continue
        missing = expected - found
        if missing == spec.numbers and index:
            what = f"holds the first {index} of {len(specs)} convolutions and ends before"
        else:
            what = f"ran out in convolution {index + 1} of {len(specs)},"
        raise ModelFileError(
            f"{path}: {what} layer {spec.layer} (line {spec.line} of the .cfg), which lacks {missing:,} "
            f"of its {spec.numbers:,} numbers; the .cfg has {whole:,}, the file {found:,}"
        )
    if found > expected:
        raise ModelFileError(
            f"{path}: {found - expected:,} numbers too long: the .cfg has {expected:,}, the file {found:,}; "
            "do the two belong together?"
        )
    return len(specs)
