"""The commands, one per file: read the input, call the packages below, print and write the results."""
