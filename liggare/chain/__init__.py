"""The chain: connect to it, find the contracts on it, send to it. Knows no domain."""
