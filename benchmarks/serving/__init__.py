"""Benchmark of serving, compared with MLflow's own server of the same release."""
