"""Boxes, anchors, letterbox and suppression: arithmetic independent of files and networks."""
