"""The colors of the classes."""

Color = tuple[int, int, int]  # RGB

# The seven colors of Okabe and Ito that color-blind people can tell apart ("Color Universal Design", 2008).
# Each further one is the bright color with the largest distance in Oklab from all before it.
PALETTE: tuple[Color, ...] = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (240, 228, 66),
    (213, 94, 0),
    (0, 114, 178),
    (144, 0, 248),
    (0, 248, 0),
    (248, 0, 232),
    (40, 248, 208),
    (40, 64, 248),
    (184, 0, 88),
    (120, 104, 0),
    (128, 72, 160),
    (136, 184, 0),
    (136, 128, 248),
    (248, 184, 248),
    (248, 56, 160),
    (224, 120, 248),
)
BLACK: Color = (0, 0, 0)
WHITE: Color = (255, 255, 255)


def class_color(label: int) -> Color:
    """Return the color of a class number; the 21st class has the color of the first."""
    return PALETTE[label % len(PALETTE)]


def ink_on(paper: Color) -> Color:
    """Return black or white, whichever has the higher contrast (WCAG 2.1) with a background color."""
    linear = [(c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4) for c in paper]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return BLACK if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else WHITE
