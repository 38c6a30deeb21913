"""Evaluation of an encoder: retrieval measures, baselines, report."""
