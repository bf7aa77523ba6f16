"""Detect without torch: backends, sources, the Detector, writers."""
