"""Measures of detections: COCO and VOC metrics, curves, confusion, errors."""

from lookonce._callable import make_callable

make_callable(__name__)
