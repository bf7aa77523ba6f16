"""Boxes in colors that show their outcome."""

import numpy as np

from lookonce.draw.marks import Mark, draw_marks

RED, GREEN = (255, 0, 0), (0, 255, 0)


def mark(box: list[float], color: tuple[int, int, int], name: str = "", dashed: bool = False) -> Mark:
    return Mark(np.array(box, np.float32), 0, name, "", color, dashed)


def has(image: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Return (H, W) bool: the pixels that have the color."""
    return (image == color).all(axis=2)


def test_without_marks_only_the_size_changes() -> None:
    assert draw_marks(np.zeros((30, 60, 3), np.uint8), [], 100).shape == (50, 100, 3)
    assert draw_marks(np.zeros((60, 30, 3), np.uint8), [], 100).shape == (100, 50, 3)
    assert draw_marks(np.zeros((1, 900, 3), np.uint8), [], 100).shape == (1, 100, 3)


def test_boxes_are_scaled_with_the_image_which_is_not_changed() -> None:
    image = np.zeros((100, 200, 3), np.uint8)

    drawn = draw_marks(image, [mark([50, 25, 100, 75], RED)], 400)

    rows, columns = np.nonzero(has(drawn, RED))
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (100, 50, 199, 149)
    assert not image.any()


def test_the_first_mark_is_drawn_on_top_and_dashes_leave_gaps() -> None:
    image, box = np.zeros((200, 200, 3), np.uint8), [20, 20, 180, 180]

    above = draw_marks(image, [mark(box, RED), mark(box, GREEN)], 200)
    below = draw_marks(image, [mark(box, RED, dashed=True), mark(box, GREEN)], 200)

    assert has(above, RED).sum() > 1.5 * has(below, RED).sum() > 0
    assert not has(above, GREEN).any()


def test_a_label_has_the_color_of_its_mark() -> None:
    image = np.zeros((200, 200, 3), np.uint8)

    without, with_name = (
        draw_marks(image, [mark([50, 80, 150, 180], RED, name)], 200) for name in ("", "cat")
    )

    assert has(with_name, RED).sum() > has(without, RED).sum() + 100
