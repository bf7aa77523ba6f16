"""Test the inspection of single files."""

import os
from pathlib import Path

import numpy as np
import pytest

from lookonce.doctor import images
from lookonce.doctor.finding_images import MOST_DRAWN, finding_image
from lookonce.doctor.findings import Finding
from lookonce.doctor.images import image_findings, inspect, inspect_all
from lookonce.images import write_image
from lookonce.samples import Sample
from lookonce.suffixes import WRITTEN_SUFFIXES

from .faults import drawn, jpeg, with_flat_end

BYTES_READ = Path("/proc/thread-self/io")


def test_a_sound_image_has_no_fault(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg", drawn(1))
    facts = inspect(tmp_path / "a.jpg")
    assert (facts.fault, facts.format, facts.color, facts.orientation) == ("", "JPEG", "color", 1)
    assert not facts.flat_end
    assert facts.thumbnail is not None
    assert facts.thumbnail.shape == (32, 32)
    means = drawn(1).mean(axis=2)
    assert abs(facts.thumbnail[:16].mean() - means[:90].mean()) < 6


@pytest.mark.parametrize(
    ("content", "cut_short"),
    [
        (b"", False),
        (b"GIF89a", False),
        (jpeg(drawn(1))[:100], True),
        (jpeg(drawn(1))[:-2], True),
        (jpeg(drawn(1))[:-300] + b"\0" * 50, True),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 9, True),
    ],
)
def test_a_file_cut_short_is_distinguished_from_other_damage(
    tmp_path: Path, content: bytes, cut_short: bool
) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    facts = inspect(tmp_path / "a.jpg")
    assert facts.fault
    assert facts.cut_short == cut_short


@pytest.mark.parametrize("suffix", WRITTEN_SUFFIXES)
def test_suffixes_that_lookonce_writes_are_accepted(tmp_path: Path, suffix: str) -> None:
    write_image(tmp_path / f"a{suffix}", drawn(1))
    facts = inspect(tmp_path / f"a{suffix}")
    assert not facts.fault
    assert list(image_findings([facts])) == []
    (tmp_path / f"a{suffix}").rename(tmp_path / "a.pcx")
    assert [found.kind for found in image_findings([inspect(tmp_path / "a.pcx")])] == ["suffix"]


@pytest.mark.skipif(not BYTES_READ.exists(), reason="Linux counts the bytes that a thread reads")
def test_a_sound_image_is_read_only_twice(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (160, 240, 3), np.uint8)
    write_image(tmp_path / "a.jpg", noise)
    before = int(BYTES_READ.read_text().split()[1])
    assert not inspect(tmp_path / "a.jpg").fault
    count = int(BYTES_READ.read_text().split()[1]) - before
    size = (tmp_path / "a.jpg").stat().st_size
    assert 2 * size < count < 2.6 * size


def test_a_folder_is_a_fault(tmp_path: Path) -> None:
    assert "a folder" in inspect(tmp_path).fault


def test_damage_hidden_by_decoders_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(with_flat_end(drawn(3)))
    assert inspect(tmp_path / "a.jpg").flat_end


@pytest.mark.parametrize(
    ("color", "flat"), [((0, 0, 0), False), ((250, 255, 249), False), ((90, 90, 90), True)]
)
def test_black_and_white_bars_are_not_damage(tmp_path: Path, color: tuple[int, int, int], flat: bool) -> None:
    image = drawn(4, 192, 240)
    image[-32:] = color
    write_image(tmp_path / "a.jpg", image)
    assert inspect(tmp_path / "a.jpg").flat_end == flat


def test_ctrl_c_starts_no_more_inspections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Path] = []
    whole = images.inspect
    monkeypatch.setattr(images, "inspect", lambda path: (begun.append(path), whole(path))[1])

    def stop() -> None:
        raise KeyboardInterrupt

    for number in range(200):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg(np.zeros((400, 400, 3), np.uint8)))
    with pytest.raises(KeyboardInterrupt):
        inspect_all(sorted(tmp_path.iterdir()), stop, threads=1)
    assert len(begun) < 200


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
def test_a_fifo_is_a_fault_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    assert "a FIFO" in inspect(tmp_path / "a.jpg").fault


def test_the_number_of_drawn_boxes_is_limited(tmp_path: Path) -> None:
    """Without the limit, drawing 20,000 boxes takes longer than all checks together."""
    path = tmp_path / "a.png"
    write_image(path, np.zeros((96, 96, 3), np.uint8))
    boxes = np.array([[8, 8, 40, 40]] * MOST_DRAWN + [[50, 50, 90, 90]], np.float32)
    labels = np.zeros(len(boxes), np.int64)
    findings = [Finding("duplicate-box", "a.txt:1", "x", path, boxes=((8.0, 8.0, 40.0, 40.0),))]

    drawn = finding_image(findings, {path: Sample(path, boxes, labels)})
    expected = finding_image(findings, {path: Sample(path, boxes[:-1], labels[:-1])})

    assert drawn is not None
    assert expected is not None
    assert np.array_equal(drawn, expected)
