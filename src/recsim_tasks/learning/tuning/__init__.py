"""Tuning: the search for hyperparameters."""
