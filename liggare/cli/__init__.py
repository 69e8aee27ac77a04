"""The `liggare` command."""
