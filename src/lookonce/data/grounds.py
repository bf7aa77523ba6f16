"""Textured backgrounds of the synthetic images: clouds, wood, cloth, tiles, dots."""

import colorsys

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float32]
PATTERNS = "clouds", "wood", "cloth", "tiles", "dots"


def ground(rng: Generator, height: int, width: int) -> Floats:
    """Draw a texture in two related colors: (H, W, 3) float32, 0..255."""
    clouds = _clouds(rng, height, width)
    pattern = _pattern(rng, clouds, PATTERNS[rng.integers(len(PATTERNS))])
    blend = (0.35 * clouds + 0.65 * pattern)[..., None]
    # two muted colors of similar hue, so that the letters stand out
    hue, saturation = rng.random(), rng.uniform(0.05, 0.5)
    value = rng.uniform(0.25, 0.9)
    dark, light = (
        255 * np.array(color, np.float32)
        for color in (
            colorsys.hsv_to_rgb(hue, saturation, value * rng.uniform(0.6, 0.85)),
            colorsys.hsv_to_rgb((hue + rng.uniform(-0.08, 0.08)) % 1, saturation * 0.8, value),
        )
    )
    canvas: Floats = dark + blend * (light - dark)
    return canvas


def _clouds(rng: Generator, height: int, width: int) -> Floats:
    """Draw smooth noise, each octave finer and weaker than the one before: (H, W), 0..1."""
    total = np.zeros((height, width), np.float32)
    fading = rng.uniform(0.4, 0.7)
    for octave in range(5):
        cells = 3 * 2**octave
        grid = rng.random((cells, cells), np.float32) * np.float32(fading**octave)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    clouds: Floats = (total - total.min()) / (total.max() - total.min())
    return clouds


def _along(rng: Generator, clouds: Floats, bend: float) -> tuple[Floats, Floats]:
    """Return pixel coordinates along two perpendicular directions, distorted by the clouds: (H, W) each."""
    y, x = np.indices(clouds.shape, np.float32)
    angle = rng.uniform(0, np.pi)
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    bent = np.float32(bend) * clouds
    return cosine * x + sine * y + bent, cosine * y - sine * x + bent


def _pattern(rng: Generator, clouds: Floats, kind: str) -> Floats:
    """Draw one of `PATTERNS`: (H, W), 0..1."""
    if kind == "wood":  # bands, strongly bent and of uneven width
        across, _ = _along(rng, clouds, bend=rng.uniform(60, 160))
        return _wave(across * np.float32(rng.uniform(0.1, 0.3)))
    if kind == "cloth":  # threads over and under each other
        across, along = _along(rng, clouds, bend=6)
        thread = np.float32(rng.uniform(0.5, 1.2))
        return np.float32(0.5) * (_wave(across * thread) + _wave(along * thread))
    if kind == "tiles":  # a board of blurred squares
        across, along = _along(rng, clouds, bend=4)
        side = np.float32(rng.uniform(18, 60))
        board = ((across // side + along // side) % 2).astype(np.float32)
        return cv2.GaussianBlur(board, (0, 0), rng.uniform(0.8, 2)).astype(np.float32)
    if kind == "dots":  # round spots on a grid
        across, along = _along(rng, clouds, bend=10)
        pitch = np.float32(2 * np.pi / rng.uniform(10, 40))
        peaks = np.sin(across * pitch) * np.sin(along * pitch)
        spots: Floats = 1 / (1 + np.exp(-6 * (peaks - np.float32(0.4))))
        return spots
    return clouds


def _wave(phase: Floats) -> Floats:
    """Return a sine between 0 and 1."""
    wave: Floats = np.float32(0.5) + np.float32(0.5) * np.sin(phase)
    return wave
