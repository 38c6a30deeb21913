"""Training data: which images a model learns from, and in which batches."""
