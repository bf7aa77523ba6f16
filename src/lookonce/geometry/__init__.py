"""Boxes, anchors, letterbox and suppression: arithmetic that knows nothing of files or networks."""
