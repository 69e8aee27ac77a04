"""`python -m liggare`: the same as the `liggare` command."""

from liggare.cli.main import main

main()
