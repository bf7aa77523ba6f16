"""Recognize formats that lookonce does not read, so that errors can name them."""

import re
from pathlib import Path

from lookonce._files import open_input
from lookonce.annotations.data_path import DataPath
from lookonce.annotations.files import json_keys
from lookonce.errors import AnnotationError

_NUMBER = rb"-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?"
_TEXTS = {  # patterns of the first lines of text formats
    "KITTI": re.compile(rb"[A-Za-z_]\S* " + rb" ".join([_NUMBER] * 14) + rb"(?: " + _NUMBER + rb")?"),
    "DOTA": re.compile(rb"imagesource:.*|" + rb" ".join([_NUMBER] * 8) + rb" [A-Za-z_]\S*(?: \d)?"),
    "VisDrone": re.compile(rb"(?:-?\d+,){7}-?\d+,?"),
    "MOT": re.compile(rb"\d+,-?\d+," + rb",".join([_NUMBER] * 4) + rb"(?:," + _NUMBER + rb"){3,4}"),
    "Google AutoML (CSV)": re.compile(rb"(?:TRAIN|TEST|VALIDATION|VALIDATE|UNASSIGNED),gs://.*"),
    "VIA 3 (CSV)": re.compile(rb"# Exported using VGG Image Annotator.*"),
}
_WIDER = re.compile(rb"\S+\.jpe?g\r?\n\d+\r?\n(?:-?\d+ ){9}-?\d+", re.IGNORECASE)


def name_of(data: DataPath) -> str | None:
    """Return the first file in a known but unsupported format, with its name, as text; None without one."""
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
    if suffix == ".manifest":
        return "Amazon's manifest" if b'"source-ref"' in _start(file) else None
    if suffix in (".csv", ".txt"):
        start = _start(file)
        if suffix == ".csv" and b"region_shape_attributes" in start:
            return "VIA (CSV)"
        if suffix == ".csv" and b"labels" in start and b"lead_time" in start.split(b"\n")[0]:
            return "Label Studio (CSV)"
        if _WIDER.match(start):
            return "WIDER FACE"
        line = start.split(b"\n")[0].strip()
        return next((name for name, form in _TEXTS.items() if form.fullmatch(line)), None)
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
            else "COCO results (detections, no annotations)"
            if {"image_id", "category_id", "score"} <= keys
            else "Scale"
            if "task_id" in keys
            else "a CVAT backup"
            if {"shapes", "tracks"} <= keys
            else None
        )
    if (
        keys & {"_via_img_metadata", "_via_settings"}
        or {"project", "view", "metadata"} <= keys
        or (b'"regions"' in start and b'"shape_attributes"' in start)
    ):
        return "VIA"
    if "objects" in keys and keys & {"size", "tags"}:
        return "Supervisely"
    if "annotations" in keys and ("item" in keys or {"dataset", "image"} <= keys):
        return "V7 Darwin"
    if "items" in keys and "categories" in keys:
        return "Datumaro"
    if ("assets" in keys and keys & {"securityToken", "visitedFrames", "tags"}) or {
        "asset",
        "regions",
    } <= keys:
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
