"""How good detections are: COCO metrics, curves, confusion."""
