"""Evaluation of a release: its answers, beside the champion and an exact search."""
