"""Read the georeference of a GeoTIFF, which maps pixels to coordinates in the file's reference system.

Source: OGC GeoTIFF 1.1 (19-008r4), sections 7.1.2 (raster space) and B.6 (tie points and scale).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce._files import open_input
from lookonce._tiff import (
    DOUBLE,
    GEO_KEYS,
    ORIENTATION,
    PIXEL_SCALE,
    SHORT,
    TIEPOINTS,
    TRANSFORMATION,
    read_page,
)
from lookonce.errors import ImageError

RASTER_TYPE, GEODETIC_CRS, PROJECTED_CRS = 1025, 2048, 3072  # keys
PIXEL_IS_POINT = 2
USER_DEFINED = 32767  # a reference system without a code
# Largest coordinate and smallest area of a pixel, in any unit; beyond these, doubles are not precise enough.
FARTHEST, LEAST_AREA = 1e12, 1e-24


@dataclass(frozen=True, slots=True, eq=False)
class Georeference:
    """An affine map from pixels to coordinates.

    Attributes:
        matrix: (2, 3) float64 with x, y = matrix @ (column, row, 1), from (0, 0) at the corner of the image.
        epsg: EPSG code of the reference system.
    """

    matrix: NDArray[np.float64]
    epsg: int

    def corners(self, box: tuple[float, float, float, float]) -> NDArray[np.float64]:
        """Return the corners of a box given in pixels, as (4, 2) coordinates x and y, counterclockwise."""
        left, top, right, bottom = box
        pixels = np.array([[left, top, 1], [left, bottom, 1], [right, bottom, 1], [right, top, 1]])
        corners: NDArray[np.float64] = pixels @ self.matrix.T
        is_mirrored = np.linalg.det(self.matrix[:, :2]) > 0  # rows go down, northings go up
        return corners[::-1] if is_mirrored else corners


def read_georeference(path: Path, at: int = 0) -> Georeference:
    """Read the georeference of one page of a GeoTIFF.

    Args:
        path: GeoTIFF file.
        at: offset of the page's directory; 0 for the first page.

    Raises:
        ImageError: the file is not a TIFF, has its pixels rotated or mirrored, whereas coordinates refer to
            pixels as stored, has no affine georeference, or a reference system without an EPSG code.
    """
    with open_input(path, ImageError) as stream:
        try:
            page = read_page(stream, at)
        except ValueError as error:
            raise ImageError(f"{path}: expected a GeoTIFF: {error}") from error
    if (turn := page.number(ORIENTATION, 1)) != 1:
        raise ImageError(
            f"{path}: expected a GeoTIFF that is stored upright, found orientation {turn}; "
            "gdal_translate IN OUT.tif writes it without that tag"
        )
    numbers = page.numbers(GEO_KEYS, SHORT)[4:]  # after a header of four numbers: key, tag, count, value
    rows = zip(*(numbers[column::4] for column in range(4)), strict=False)
    keys = {key: value for key, tag, _, value in rows if tag == 0}
    scale, ties, given = (page.numbers(tag, DOUBLE) for tag in (PIXEL_SCALE, TIEPOINTS, TRANSFORMATION))
    if len(given) == 16:
        matrix = np.array([given[0:2] + given[3:4], given[4:6] + given[7:8]])
    elif len(scale) >= 2 and len(ties) == 6:
        column, row, _, x, y, _ = ties
        matrix = np.array([[scale[0], 0, x - column * scale[0]], [0, -scale[1], y + row * scale[1]]])
    else:
        raise ImageError(
            f"{path}: expected a GeoTIFF with a pixel size and one tie point, or a transformation, found "
            f"{len(ties) // 6} tie points; assign coordinates (gdal_translate -a_ullr) or warp it (gdalwarp)"
        )
    if keys.get(RASTER_TYPE) == PIXEL_IS_POINT:  # (0, 0) is the middle of the first pixel
        matrix[:, 2] -= matrix[:, :2].sum(axis=1) / 2
    epsg = keys.get(PROJECTED_CRS, keys.get(GEODETIC_CRS, USER_DEFINED))
    # both comparisons are false for NaN
    is_map = np.abs(matrix).max() < FARTHEST and abs(np.linalg.det(matrix[:, :2])) > LEAST_AREA
    if epsg == USER_DEFINED or not is_map:
        found = "none" if epsg == USER_DEFINED else f"EPSG:{epsg} and a transformation without area"
        raise ImageError(
            f"{path}: expected a reference system with an EPSG code, found {found}; name it, for example "
            "with gdal_edit.py -a_srs EPSG:25832"
        )
    return Georeference(matrix, epsg)
