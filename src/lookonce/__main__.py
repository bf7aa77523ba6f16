"""`python -m lookonce`: the command line, for environments whose script folder is not on the path."""

from lookonce.cli import main

main()
