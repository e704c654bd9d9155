"""`python -m zoo`, where the console script is not on the path."""

from zoo.cli import main

main()
