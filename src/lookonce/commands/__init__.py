"""One file per verb of the command line: it reads input, calls the rooms below, prints and writes."""
