"""Benchmarks: each package is a command that compares two sides in one run, and ends with one JSON line."""
