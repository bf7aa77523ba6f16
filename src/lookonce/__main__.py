"""Run the command line with `python -m lookonce`, for environments whose script folder is not on the path."""

from lookonce.cli import main

main()
