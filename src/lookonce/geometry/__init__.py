"""Boxes, anchors, letterbox and NMS: arithmetic independent of files and networks."""
