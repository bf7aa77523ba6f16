"""`python -m lookonce`: the command line, where its script is not on the path."""

from lookonce.cli import main

main()
