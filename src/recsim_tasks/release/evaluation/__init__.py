"""Evaluation of a release: the results of its queries, beside the champion's and those of an exact search."""
