"""One file per command: it reads input, calls the packages below, prints and writes."""
