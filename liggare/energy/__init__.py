"""Energy: a neighbourhood's market whose price nobody can bend."""
