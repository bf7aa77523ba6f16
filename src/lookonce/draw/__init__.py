"""Boxes, labels and plots as pictures."""
