"""Coordinates of a GeoTIFF, compared with values by hand."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookonce.errors import ImageError
from lookonce.geotiff import read_georeference
from tests.tiffs import DOUBLE, LONG, PROJECTED, SHORT, geotiff_tags, write_tiff

BOX = (10.0, 20.0, 30.0, 60.0)  # left, top, right, bottom
KEYS = geotiff_tags(1, (0, 0))[34735]


def corners(path: Path, tags: dict) -> list[list[float]]:
    return read_georeference(write_tiff(path, (64, 64), tile=64, tags=tags)).corners(BOX).tolist()


def test_pixel_size_and_tie_point_give_coordinates(tmp_path: Path) -> None:
    path = tmp_path / "map.tif"

    assert corners(path, geotiff_tags(0.5, (500_000, 5_400_000))) == [
        [500_005, 5_399_990],
        [500_005, 5_399_970],
        [500_015, 5_399_970],
        [500_015, 5_399_990],
    ]
    assert read_georeference(path).epsg == 25832


def test_tie_points_may_be_pixel_centers(tmp_path: Path) -> None:
    tags = geotiff_tags(2, (100, 200), {**PROJECTED, 1025: 2})

    assert corners(tmp_path / "map.tif", tags)[0] == [100 - 1 + 20, 200 + 1 - 40]


def test_a_tie_point_may_be_inside_the_image(tmp_path: Path) -> None:
    tags = geotiff_tags(2, (0, 0)) | {33922: (DOUBLE, [10, 20, 0, 700, 900, 0])}

    assert corners(tmp_path / "map.tif", tags)[0] == [700, 900]


def test_a_rotated_map_keeps_its_orientation(tmp_path: Path) -> None:
    """Columns run north and rows run east, so the map is mirrored, and the corners run in reverse."""
    matrix = [0, 3, 0, 1000, 2, 0, 0, 2000, 0, 0, 0, 0, 0, 0, 0, 1]
    found = np.array(corners(tmp_path / "map.tif", {34264: (DOUBLE, matrix), 34735: KEYS}))

    assert [1000 + 3 * 20, 2000 + 2 * 10] in found.tolist()
    x, y = found.T
    assert (x * np.roll(y, -1) - y * np.roll(x, -1)).sum() > 0  # counterclockwise, so the area is positive


def test_a_map_may_be_in_degrees(tmp_path: Path) -> None:
    write_tiff(
        tmp_path / "a.tif", (64, 64), tile=64, tags=geotiff_tags(0.001, (8, 49), {1024: 2, 2048: 4326})
    )

    assert read_georeference(tmp_path / "a.tif").epsg == 4326


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({}, "a pixel size and one tie point, or a transformation, found 0 tie points"),
        (geotiff_tags(1, (0, 0)) | {33922: (DOUBLE, [0.0] * 24)}, "found 4 tie points; assign coordinates"),
        (geotiff_tags(1, (0, 0), {1024: 1, 3072: 32767}), "EPSG code, found none; name it, .* gdal_edit"),
        (geotiff_tags(0, (0, 0)), "a transformation without area"),
        (geotiff_tags(1e-30, (0, 0)), "a transformation without area"),
        (geotiff_tags(1, (float("nan"), 0)), "a transformation without area"),
        (geotiff_tags(1, (1e300, 0)), "a transformation without area"),
        (
            geotiff_tags(1, (0, 0)) | {274: (SHORT, [3])},
            "stored upright, found orientation 3",
        ),
        (geotiff_tags(1, (0, 0)) | {34735: (DOUBLE, [float("nan")] * 8)}, "EPSG code, found none"),
        (geotiff_tags(1, (0, 0)) | {33550: (LONG, [1, 1, 0])}, "a pixel size and one tie point"),
        (geotiff_tags(1, (0, 0)) | {34735: (SHORT, [1, 1, 0, 9])}, "EPSG code, found none"),
    ],
)
def test_an_unusable_georeference_is_explained(tmp_path: Path, tags: dict, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        corners(tmp_path / "map.tif", tags)


def test_a_file_that_is_not_a_geotiff_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")

    with pytest.raises(ImageError, match=r"a\.png: expected a GeoTIFF"):
        read_georeference(tmp_path / "a.png")
