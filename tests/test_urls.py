"""No message shows a secret of a URL, however it was written."""

import pytest

from lookonce._urls import Credentials, redacted, split_credentials


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://cam/live", "rtsp://cam/live"),
        ("http://host/a@b", "http://host/a@b"),
        ("http://[::1]:80/a", "http://[::1]:80/a"),
        ("rtsp://admin:Admin@123@cam/live", "rtsp://cam/live"),
        ("rtsp://admin:a@b@c@cam:554/live?x=1", "rtsp://cam:554/live?x=1"),
        ("rtsp://admin:pa/ss@cam/live", "rtsp://cam/live"),
        ("rtsp://admin:pa#ss@cam/live", "rtsp://cam/live"),
        ("rtsp://admin:pa?ss@cam/live", "rtsp://cam/live"),
        ("rtsp://admin@cam", "rtsp://cam"),
        ("rtsp://:secret@cam", "rtsp://cam"),
        ("admin:secret@cam/live", "cam/live"),
        ("http://cam/v?user=admin&password=secret&x=1", "http://cam/v?user=***&password=***&x=1"),
        ("http://cam/v?loginuse=admin&loginpas=secret", "http://cam/v?loginuse=***&loginpas=***"),
        ("http://cam/v?USR=a&PWD=b", "http://cam/v?USR=***&PWD=***"),
        ("http://cam/v?access_token=a_b-c", "http://cam/v?access_token=***"),
        ("https://s3/x.png?X-Amz-Signature=ab&X-Amz-Credential=cd", "https://s3/x.png?X-Amz-Signature=***&X-Amz-Credential=***"),
        ("rtsp://cam:554/user=admin&password=tl&channel=1", "rtsp://cam:554/user=***&password=***&channel=1"),
        ("rtsp://cam/user=admin_password=tl_channel=1", "rtsp://cam/user=***"),
        ("http://cam/v#token=abc", "http://cam/v#token=***"),
    ],
)  # fmt: skip
def test_secrets_are_not_shown(url: str, shown: str) -> None:
    assert redacted(url) == shown


def test_credentials_are_split_from_urls() -> None:
    assert split_credentials("rtsp://admin:Admin@123@cam/live") == Credentials(
        "rtsp://cam/live", "admin", "Admin@123"
    )
    assert split_credentials("http://cam/a@b") == Credentials("http://cam/a@b", "", "")
