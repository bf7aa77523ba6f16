"""Names of videos, and numbers of declared and found frames."""

import pytest

from lookonce.errors import ImageError
from lookonce.runtime.video_checks import check_whole, name_of


def test_the_password_of_a_stream_is_not_shown() -> None:
    assert name_of("rtsp://user:secret@camera.local/live?x=1") == "rtsp://camera.local/live?x=1"
    assert name_of("rtsp://admin:Admin@123@cam/live") == "rtsp://cam/live"
    assert name_of("http://host/a@b") == "http://host/a@b"


@pytest.mark.parametrize(("declared", "found"), [(0, 1), (1, 1), (20, 19), (100, 95), (100, 120)])
def test_enough_frames_pass_the_check(declared: int, found: int) -> None:
    check_whole("rtsp://cam/live", declared, found)


@pytest.mark.parametrize(("declared", "found"), [(0, 0), (20, 18), (100, 94)])
def test_too_few_frames_are_an_error(declared: int, found: int) -> None:
    with pytest.raises(ImageError, match=f"expected {declared or 'some'} frames, found {found}"):
        check_whole("rtsp://cam/live", declared, found)
