"""Write detections for maps: a GeoJSON file per GeoTIFF, in the image's coordinate reference system."""

import json
from math import floor, log10

import numpy as np

from lookonce._files import fit_name, replacing
from lookonce.detections import Detections
from lookonce.errors import ImageError
from lookonce.geotiff import read_georeference
from lookonce.runtime.sources import Frame
from lookonce.runtime.writers import Writer

WGS84 = 4326
# RFC 7946 only allows longitude and latitude; other systems are named as in GeoJSON 2008, section 3, which
# GDAL and QGIS read.
CRS84 = "urn:ogc:def:crs:OGC:1.3:CRS84"  # EPSG:4326 with longitude first, as in every GeoJSON
DIGITS = 3  # decimal places of coordinates, as a fraction of a pixel


class GeoJsonWriter(Writer):
    """A file per image, since images may have different reference systems, with a polygon per detection."""

    def add(self, frame: Frame, detections: Detections) -> None:
        """Write the file for a GeoTIFF: `NAME.tif.geojson`.

        Raises:
            ImageError: the image is not a file, or has no georeference.
        """
        if frame.path is None or frame.moment is not None:
            raise ImageError(f"{frame.name}: expected a GeoTIFF for geojson, found another source")
        place = read_georeference(frame.path, frame.page)
        pixel = float(np.abs(place.matrix[:, :2]).max())
        digits = max(0, DIGITS - floor(log10(pixel)))
        features = []
        for each, (_, _, box) in zip(detections.to_dict()["detections"], detections, strict=True):
            corners = place.corners(box).round(digits).tolist()
            ring = [*corners, corners[0]]  # a ring ends where it starts
            geometry = {"type": "Polygon", "coordinates": [ring]}
            features.append({"type": "Feature", "properties": each, "geometry": geometry})
        name = CRS84 if place.epsg == WGS84 else f"urn:ogc:def:crs:EPSG::{place.epsg}"
        collection = {
            "type": "FeatureCollection",
            "name": frame.relative.stem,
            "crs": {"type": "name", "properties": {"name": name}},
            "features": features,
        }
        target = self.path / frame.relative.with_name(fit_name(frame.relative.name, ".geojson"))
        with replacing(target) as temporary:
            temporary.write_text(json.dumps(collection, ensure_ascii=False), encoding="utf-8")

    def close(self, *, complete: bool) -> None:
        """Do nothing: each file is complete once it is written."""

    def abandon(self) -> None:
        """Do nothing: before the first image there is no file."""
