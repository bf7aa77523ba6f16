"""Measure detections: COCO and VOC metrics, curves, confusion and errors."""

from lookonce._callable import make_callable

make_callable(__name__)
