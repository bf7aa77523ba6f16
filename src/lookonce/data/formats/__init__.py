"""Annotation files in and out; the format is recognised."""
