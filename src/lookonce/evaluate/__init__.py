"""Measures of detections: COCO and VOC metrics, curves, confusion, errors."""
