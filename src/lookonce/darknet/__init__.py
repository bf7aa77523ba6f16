"""Darknet models in and out: `.cfg` and `.weights`, without torch."""
