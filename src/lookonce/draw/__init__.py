"""Boxes, labels and plots as images."""
