"""Names in any script, which the fonts of the machine may lack."""

import pytest
from PIL import ImageFont

from lookonce.draw import text
from lookonce.draw.text import legible, shortened

FONT = ImageFont.load_default(16)


@pytest.fixture
def no_system_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "SYSTEM_FONTS", ())
    for cached in (legible, text._fonts):
        cached.cache_clear()
    yield
    for cached in (legible, text._fonts):
        cached.cache_clear()


def test_an_ascii_name_needs_no_system_font(no_system_fonts: None) -> None:
    shown, font = legible("traffic light", 9, 16)
    assert shown == "traffic light"
    assert font.getname() == FONT.getname()


@pytest.mark.usefixtures("no_system_fonts")
@pytest.mark.parametrize("name", ["Fußgänger", "голова", "犬"])
def test_the_class_number_is_shown_if_no_font_has_the_letters(name: str) -> None:
    assert legible(name, 7, 16)[0] == "[7]"


def test_other_letters_come_from_a_system_font() -> None:
    try:
        ImageFont.truetype("DejaVuSans.ttf", 16)
    except OSError:
        pytest.skip("needs the font DejaVu Sans on this machine")
    shown, font = legible("голова", 0, 16)
    assert shown == "голова"
    assert font.getname() != FONT.getname()


def test_a_name_that_fits_is_not_shortened() -> None:
    assert shortened("dog", FONT, 200) == "dog"


def test_a_long_name_is_shortened() -> None:
    cut = shortened("a very long name indeed", FONT, 60)
    assert cut.startswith("a very")
    assert cut.endswith("…")
    assert FONT.getlength(cut) <= 60
