"""Run the command line as `python -m lookonce`, for environments without their script folder on the path."""

from lookonce.cli import main

main()
