"""Run the commands, one per file: read input, call the packages below, print and write results."""
