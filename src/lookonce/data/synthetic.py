"""Synthetic images for trying lookonce without data: letters and digits on textured backgrounds.

Sizes, colors, rotations and backgrounds vary; boxes are exact because they are computed from the drawn
pixels. The same seed gives the same images, however many are rendered.

    background -> for each object: glyph (an opacity mask) -> a free place -> paint with shadow
               -> light and grain
"""

import colorsys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lookonce.annotations import write_samples
from lookonce.data.grounds import ground
from lookonce.images import write_image
from lookonce.samples import Sample, SampleSet

# No two of these look alike when rotated, as 6 and 9, N and Z, M and W, or O and 0 would.
CLASSES = ("2", "3", "4", "5", "8", "A", "F", "H", "R", "X")
SIZES = ((320, 320), (320, 320), (288, 352), (352, 288), (240, 320))  # (height, width) of the images
SIDES = 24, 150  # smallest and largest height of a letter before rotation, in pixels
MOST_OBJECTS = 8
BACKGROUND = 0.06  # share of images without an object
TURN = 35  # largest rotation of a letter, in degrees, in either direction
CONTRAST = 75  # least difference in gray levels between a letter and the background below it
TRIES = 12  # attempts at finding a free place (else the object is dropped) or a contrasting color
FACES = (cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX)
FONT = lru_cache(maxsize=512)(ImageFont.load_default)  # by size
STREAMS = {"train": 1, "val": 2, "test": 3, "unseen": 4}  # part of the seed: no image is in two splits

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One rendered image.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes: (N, 4) float32 xyxy, tight around the drawn letters; no two overlap.
        labels: (N,) int64 indices into `CLASSES`.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]


def render(out: Path, counts: Mapping[str, int], seed: int = 0) -> Path:
    """Write images and their annotations, in the format `lines`.

    Args:
        out: new or empty folder that receives `images/` and `annotations/`.
        counts: number of images per split, by name (`train`, `val`, `test`).
        seed: seed of the images.

    Returns:
        Path of the dataset YAML.

    Raises:
        AnnotationError: `out` cannot be written, or holds annotations already.
    """
    sets = {}
    for split, count in counts.items():
        samples = []
        for number, drawn in enumerate(_scenes(split, count, seed)):
            path = out / "images" / split / f"{number:04d}.jpg"
            write_image(path, drawn.image)
            samples.append(Sample(path, drawn.boxes, drawn.labels, size=drawn.image.shape[:2]))
        sets[split] = SampleSet(CLASSES, samples, [], "lines")
    written, _ = write_samples(sets, "lines", out / "annotations")
    return written


def render_unseen(folder: Path, count: int, seed: int = 0) -> None:
    """Write images without annotations for detection, different from those of `render`.

    Raises:
        ImageError: the folder cannot be written.
    """
    for number, drawn in enumerate(_scenes("unseen", count, seed)):
        write_image(folder / f"{number:04d}.png", drawn.image)


def _scenes(part: str, count: int, seed: int) -> Iterator[Scene]:
    """Draw `count` images of a part; each has its own seed, so that none depends on their number."""
    for number in range(count):
        yield scene(np.random.default_rng((seed, STREAMS[part], number)))


def scene(rng: Generator) -> Scene:
    """Draw one image; it depends only on the state of the generator."""
    height, width = SIZES[rng.integers(len(SIZES))]
    canvas = ground(rng, height, width)
    boxes: list[tuple[int, int, int, int]] = []
    labels: list[int] = []
    wanted = 0 if rng.random() < BACKGROUND else int(rng.integers(2, MOST_OBJECTS + 1))
    for label in rng.integers(len(CLASSES), size=wanted).tolist():
        mask = glyph(rng, CLASSES[label])
        corner = _free_place(rng, mask, (height, width), boxes)
        if corner is not None:
            _paint(rng, canvas, mask, *corner)
            boxes.append(_extent(mask, *corner))
            labels.append(label)
    return Scene(
        _photographed(rng, canvas),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(labels, np.int64),
    )


def glyph(rng: Generator, letter: str) -> Floats:
    """Draw a letter in a random font, weight, size and angle: (h, w) opacity 0..1, with room for a shadow."""
    side = float(np.exp(rng.uniform(*np.log(SIDES))))
    drawn = _drawn(rng, letter, 2 * round(side))  # twice the size, for smooth edges
    height, width = drawn.shape
    angle, shear = np.deg2rad(rng.uniform(-TURN, TURN)), rng.uniform(-0.15, 0.15)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn = 0.5 * turn @ np.array([[rng.uniform(0.85, 1.1), shear], [0, 1]])
    corners = turn @ (np.array([[-1, 1, -1, 1], [-1, -1, 1, 1]]) * [[width / 2], [height / 2]])
    margin = 3 + 0.08 * side
    half = np.ceil(np.abs(corners).max(axis=1) + margin)
    shift = half - turn @ [width / 2, height / 2]
    size = int(2 * half[0]), int(2 * half[1])
    warped = cv2.warpAffine(drawn, np.column_stack([turn, shift]), size, flags=cv2.INTER_LINEAR)
    mask: Floats = warped.astype(np.float32) / np.float32(255)
    return mask


def _drawn(rng: Generator, letter: str, side: int) -> NDArray[np.uint8]:
    """Draw an upright letter, about `side` pixels high: (h, w) uint8 opacity."""
    if rng.random() < 0.5:
        face = FACES[rng.integers(len(FACES))]  # OpenCV's stroke fonts
        pen = max(2, round(side * rng.uniform(0.05, 0.16)))
        scale = (side - pen) / 21  # a capital is 21 pixels high at scale 1
        (width, height), base = cv2.getTextSize(letter, face, scale, pen)
        drawn = np.zeros((height + base + 2 * pen, width + 2 * pen), np.uint8)
        cv2.putText(drawn, letter, (pen, height + pen), face, scale, 255, pen, cv2.LINE_AA)
        return drawn
    font = FONT(round(side * 1.4))  # a capital is 0.7 of the font's size
    stroke = round(side * rng.uniform(0, 0.07))
    left, top, right, bottom = (int(edge) for edge in font.getbbox(letter, stroke_width=stroke))
    image = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(image).text((-left, -top), letter, 255, font, stroke_width=stroke)
    return np.asarray(image)


def _free_place(
    rng: Generator, mask: Floats, size: tuple[int, int], occupied: list[tuple[int, int, int, int]]
) -> tuple[int, int] | None:
    """Choose (left, top) of a mask inside the image so that its box overlaps no other; None if all fail."""
    room = size[1] - mask.shape[1], size[0] - mask.shape[0]
    if min(room) < 0:
        return None
    for _ in range(TRIES):
        left, top = int(rng.integers(room[0] + 1)), int(rng.integers(room[1] + 1))
        x0, y0, x1, y1 = _extent(mask, left, top)
        if all(x1 <= a or c <= x0 or y1 <= b or d <= y0 for a, b, c, d in occupied):
            return left, top
    return None


def _extent(mask: Floats, left: int, top: int) -> tuple[int, int, int, int]:
    """Return the box (x0, y0, x1, y1) around the pixels that are more than half covered."""
    covered = mask > 0.5
    columns, rows = np.flatnonzero(covered.any(axis=0)), np.flatnonzero(covered.any(axis=1))
    return left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1


def _paint(rng: Generator, canvas: Floats, mask: Floats, left: int, top: int) -> None:
    """Paint a shadow and then the letter on the canvas, in a contrasting color."""
    spot = canvas[top : top + mask.shape[0], left : left + mask.shape[1]]
    below = cv2.mean(spot, (mask > 0.5).astype(np.uint8))[:3]
    reach = 1 + 0.01 * max(mask.shape)
    offset = np.array([[1, 0, reach], [0, 1, reach]], np.float32)
    shadow = cv2.GaussianBlur(cv2.warpAffine(mask, offset, mask.shape[::-1]), (0, 0), reach)
    spot *= 1 - np.float32(rng.uniform(0, 0.6)) * shadow[..., None]
    first, second = (_color(rng, below) for _ in range(2))
    fade = np.linspace(0, rng.uniform(0, 0.5), mask.shape[0], dtype=np.float32)[:, None, None]
    spot += mask[..., None] * (first + fade * (second - first) - spot)


def _color(rng: Generator, below: Sequence[float]) -> Floats:
    """Draw a random color whose brightness differs enough from the background's: (3,) RGB 0..255."""
    for _ in range(TRIES):
        hue, saturation, value = rng.uniform((0, 0.2, 0.1), (1, 1, 1))
        color = [255 * channel for channel in colorsys.hsv_to_rgb(hue, saturation, value)]
        if abs(_brightness(color) - _brightness(below)) >= CONTRAST:
            return np.array(color, np.float32)
    return np.full(3, 20 if _brightness(below) > 127 else 235, np.float32)


def _brightness(color: Sequence[float]) -> float:
    red, green, blue = color
    return 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601


def _photographed(rng: Generator, canvas: Floats) -> NDArray[np.uint8]:
    """Add uneven light and sensor noise."""
    height, width = canvas.shape[:2]
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :] * np.float32(rng.uniform(-0.15, 0.15))
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * np.float32(rng.uniform(-0.15, 0.15))
    grain = rng.standard_normal((height, width), np.float32) * np.float32(rng.uniform(0, 7))
    lit = canvas * (1 + across + down)[..., None] + grain[..., None]
    return lit.clip(0, 255).round().astype(np.uint8)
