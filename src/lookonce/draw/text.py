"""Find a font that has the letters of a class name.

Pillow's own font only has ASCII. Other letters come from the fonts of the machine; if none has them, the
class number in brackets replaces the name.
"""

from functools import lru_cache

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Fonts to look for by name in the system's font folders, on Linux, macOS and Windows; those with Chinese,
# Japanese and Korean last.
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
NO_LETTER = "\uffff"  # never a character, so a font shows its glyph for missing characters


@lru_cache(maxsize=4096)
def legible(name: str, label: int, size: int) -> tuple[str, Font]:
    """Return the text for a class, and a font that has its letters.

    Args:
        name: class name.
        label: class number, written if no font has the letters of the name.
        size: height of letters in pixels.
    """
    for font in _fonts(size):
        missing = bytes(font.getmask(NO_LETTER))
        if all(bytes(font.getmask(letter)) != missing for letter in set(name) if not letter.isspace()):
            return name, font
    return f"[{label}]", _fonts(size)[0]


def shortened(name: str, font: Font, width: float) -> str:
    """Return a name, shortened with an ellipsis if necessary to fit a width in pixels."""
    text, kept = name, name
    while kept and font.getlength(text) > width:
        kept = kept[:-1]
        text = f"{kept}…"
    return text


@lru_cache(maxsize=64)
def _fonts(size: int) -> tuple[Font, ...]:
    """Return Pillow's own font and those of `SYSTEM_FONTS` that this machine has."""
    found: list[Font] = [ImageFont.load_default(size)]
    for file in SYSTEM_FONTS:
        try:
            found.append(ImageFont.truetype(file, size))
        except OSError:  # not on this machine
            continue
    return tuple(found)
