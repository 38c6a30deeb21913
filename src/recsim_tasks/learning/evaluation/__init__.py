"""Evaluation of an encoder: retrieval metrics, baselines, report."""
