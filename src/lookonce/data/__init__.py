"""From annotation files to what the network learns from."""
