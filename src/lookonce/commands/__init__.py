"""One file per verb of the command line: it reads input, calls the packages below, prints and writes."""
