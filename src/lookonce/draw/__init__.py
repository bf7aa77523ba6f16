"""Draw boxes and labels on images."""
