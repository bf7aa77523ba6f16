"""Draw boxes and labels on an image: lines and letters scale with it, and labels do not overlap."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lookonce.draw.palette import BLACK, Color, class_color, ink_on
from lookonce.draw.text import legible, shortened
from lookonce.geometry.boxes import area, clip, pairwise_iou

MOST_HIDDEN = 0.4  # share of a box that a label may cover


class Canvas:
    """Draws on an image.

    Args:
        image: (H, W, 3) uint8 RGB to draw on.
        boxes: (N, 4) xyxy of all boxes to be drawn, so that labels do not hide them.
        letters: height of letters in pixels; None to choose it by the size of the image.
    """

    def __init__(
        self, image: NDArray[np.uint8], boxes: NDArray[np.float32], letters: int | None = None
    ) -> None:
        self.image = image
        self._height, self._width = image.shape[:2]
        shorter = min(self._height, self._width)
        self._line = max(2, round(shorter / 250))
        self._letters = letters or max(11, round(shorter / 36))
        self._boxes = boxes
        self._labels = np.zeros((0, 4), np.float32)  # labels drawn so far, xyxy

    def solid(self, box: Sequence[float], color: Color) -> None:
        """Draw a solid box with a dark edge, visible on any background; small boxes have thinner lines."""
        left, top, right, bottom = self._pixels(box)
        thin = min(right - left, bottom - top) < 12 * self._line
        self._outline((left - 1, top - 1, right + 1, bottom + 1), BLACK, 1)
        self._outline((left, top, right, bottom), color, self._line // 2 if thin else self._line)

    def dashed(self, box: Sequence[float], color: Color) -> None:
        """Draw a dashed box: dashes on a dark line."""
        left, top, right, bottom = self._pixels(box)
        self._outline((left, top, right, bottom), BLACK, self._line)
        inset = self._line - 1
        for start, end in _dashes(left, right, 4 * self._line):
            self._fill((start, top, end, min(top + inset, bottom)), color)
            self._fill((start, max(bottom - inset, top), end, bottom), color)
        for start, end in _dashes(top, bottom, 4 * self._line):
            self._fill((left, start, min(left + inset, right), end), color)
            self._fill((max(right - inset, left), start, right, end), color)

    def label(
        self, box: Sequence[float], label: int, name: str, suffix: str = "", color: Color | None = None
    ) -> None:
        """Write a name and a suffix above, inside or below a box.

        They hide no label and at most `MOST_HIDDEN` of any box. If no such place exists, nothing is written.
        The background of the name has the given color or that of the class. The background of the suffix is
        black, so that class "2" with score 0.91 does not look like 20.91.
        """
        shown, font = legible(name, label, self._letters) if name else ("", legible("0", 0, self._letters)[1])
        margin = self._line
        tail = font.getlength(suffix) + 2 * margin if suffix else 0
        text = shortened(shown, font, self._width - 1 - tail - 2 * margin)
        head = font.getlength(text) + 2 * margin if text else 0
        width, height = head + tail, self._letters * 1.25 + margin
        corner, upper, _, lower = self._pixels(box)
        left = float(np.clip(corner, 0, max(self._width - 1 - width, 0)))
        for edge in (upper - height, upper, lower + 1):  # above the box, inside it, below it
            top = float(np.clip(edge, 0, max(self._height - 1 - height, 0)))
            spot = np.array([left, top, left + width, top + height], np.float32)
            hidden = clip(self._boxes - spot[[0, 1, 0, 1]], spot[3] - spot[1], spot[2] - spot[0])
            hides_box = (area(hidden) > MOST_HIDDEN * area(self._boxes)).any()
            if not hides_box and not pairwise_iou(spot[None], self._labels).any():
                break
        else:
            return
        self._labels = np.concatenate([self._labels, spot[None]])
        paper = class_color(label) if color is None else color
        for words, start, end, background in (
            (text, left, left + head, paper),
            (suffix, left + head, left + width, BLACK if text else paper),
        ):
            if words:
                self._fill((round(start), round(top), round(end), round(top + height)), background)
                at = start + margin, top + height / 2
                x0, y0, x1, y1 = font.getbbox(words, anchor="lm")
                x, y = max(int(at[0] + x0) - 2, 0), max(int(at[1] + y0) - 2, 0)
                part = self.image[y : int(at[1] + y1) + 3, x : int(at[0] + x1) + 3]
                if part.size:  # only this part is converted for Pillow, which is faster
                    drawn = Image.fromarray(part)
                    place, ink = (at[0] - x, at[1] - y), ink_on(background)
                    ImageDraw.Draw(drawn).text(place, words, font=font, fill=ink, anchor="lm")
                    part[:] = np.asarray(drawn)

    def _fill(self, place: tuple[int, int, int, int], color: Color) -> None:
        """Fill a rectangle, including its last column and row."""
        left, top, right, bottom = place
        self.image[max(top, 0) : max(bottom + 1, 0), max(left, 0) : max(right + 1, 0)] = color

    def _outline(self, place: tuple[int, int, int, int], color: Color, width: int) -> None:
        """Draw the inner edge of a rectangle."""
        left, top, right, bottom = place
        self._fill((left, top, right, min(top + width - 1, bottom)), color)
        self._fill((left, max(bottom - width + 1, top), right, bottom), color)
        self._fill((left, top, min(left + width - 1, right), bottom), color)
        self._fill((max(right - width + 1, left), top, right, bottom), color)

    def _pixels(self, box: Sequence[float]) -> tuple[int, int, int, int]:
        """Return the first and last column and row of a box, clipped to the image; at least one pixel."""
        left, right = sorted(min(max(round(x), 0), self._width - 1) for x in (box[0], box[2] - 1))
        top, bottom = sorted(min(max(round(y), 0), self._height - 1) for y in (box[1], box[3] - 1))
        return left, top, right, bottom


def _dashes(first: int, last: int, length: int) -> Iterator[tuple[int, int]]:
    """Yield (first, last) pixels of dashes of a given length, with equal gaps, between two pixels."""
    for start in range(first, last + 1, 2 * length):
        yield start, min(start + length - 1, last)
