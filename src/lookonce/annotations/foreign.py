"""Formats that are recognized but not read: the error names the format and what to export instead."""

import re
from pathlib import Path

from lookonce._files import open_input
from lookonce.annotations.data_path import DataPath
from lookonce.annotations.files import json_keys
from lookonce.errors import AnnotationError

_KITTI = re.compile(rb"^[A-Za-z_]+ \S+ \d+ (?:-?[\d.]+ ){11}-?[\d.]+\s*$")


def name_of(data: DataPath) -> str | None:
    """Return the name of a known but unsupported format, with its first file; None for anything else."""
    files = data.tree.files if data.is_folder else [data.path]
    for file in files:
        if name := _of_file(file):
            return f"{file} is {name}"
    return None


def _of_file(file: Path) -> str | None:
    suffix = file.suffix.lower()
    if suffix in (".tfrecord", ".tfrecords", ".record") or ".tfrecord-" in file.name:
        return "TFRecord"
    if suffix in (".ndjson", ".jsonl"):
        return "NDJSON"
    if suffix == ".vott":
        return "VoTT"
    if suffix == ".json":
        return _of_json(file)
    if suffix == ".csv":
        return "VIA (CSV)" if b"region_shape_attributes" in _start(file) else None
    if suffix == ".txt":
        return "KITTI" if _KITTI.match(_start(file).split(b"\n")[0]) else None
    return None


def _of_json(file: Path) -> str | None:
    keys = json_keys(file)
    start = _start(file)
    if "[]" in keys:
        return (
            "BDD100K (Scalabel)"
            if b'"box2d"' in start
            else "Labelbox"
            if b'"Labeled Data"' in start
            else None
        )
    if keys & {"_via_img_metadata", "_via_settings"} or (
        b'"regions"' in start and b'"shape_attributes"' in start
    ):
        return "VIA"
    if "objects" in keys and keys & {"size", "tags"}:
        return "Supervisely"
    if "item" in keys and "annotations" in keys:
        return "V7 Darwin"
    if "items" in keys and "categories" in keys:
        return "Datumaro"
    if "assets" in keys and "visitedAssets" in keys | {key for key in keys if key.startswith("visited")}:
        return "VoTT"
    if "samples" in keys and keys & {"name", "info", "version", "sample_fields"}:
        return "FiftyOne's own form"
    return None


def _start(file: Path) -> bytes:
    try:
        with open_input(file, AnnotationError) as stream:
            return stream.read(1 << 16)
    except (OSError, AnnotationError):
        return b""
