"""Class names in any script, in a font that has the letters.

Pillow has a font for ASCII only. Other letters come from the fonts of the machine; if none has them, the
class number in brackets replaces the name.
"""

from functools import lru_cache

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Found by name in the system's font folders: Linux, macOS, Windows; the wide ones (Chinese, Japanese,
# Korean) last.
SYSTEM_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "Arial Unicode.ttf",
    "arial.ttf",
    "Nirmala.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "PingFang.ttc",
    "msyh.ttc",
    "wqy-microhei.ttc",
)
NO_LETTER = "\uffff"  # never a character: a font shows its glyph for missing characters


@lru_cache(maxsize=4096)
def legible(name: str, label: int, size: int) -> tuple[str, Font]:
    """Return the text for a class, and the font to write it in.

    Args:
        name: class name.
        label: class number, written if no font has the letters of the name.
        size: height of the letters, in pixels.
    """
    for font in _fonts(size):
        missing = bytes(font.getmask(NO_LETTER))
        if all(bytes(font.getmask(letter)) != missing for letter in set(name) if not letter.isspace()):
            return name, font
    return f"[{label}]", _fonts(size)[0]


def shortened(name: str, font: Font, width: float) -> str:
    """Return the name, shortened with an ellipsis until it fits the width in pixels."""
    text, kept = name, name
    while kept and font.getlength(text) > width:
        kept = kept[:-1]
        text = f"{kept}…"
    return text


@lru_cache(maxsize=64)
def _fonts(size: int) -> tuple[Font, ...]:
    """Return Pillow's own font, then those of the machine."""
    found: list[Font] = [ImageFont.load_default(size)]
    for file in SYSTEM_FONTS:
        try:
            found.append(ImageFont.truetype(file, size))
        except OSError:  # not on this machine
            continue
    return tuple(found)
