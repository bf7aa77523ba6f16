"""Detection without torch: backends, sources, the Detector and writers."""
