"""The networks, readable top-down, and their files."""
