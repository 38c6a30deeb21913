"""What learning costs and what it is worth: `make bench-learning`."""
