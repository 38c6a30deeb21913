"""Speed and quality of training: `make bench-learning`."""
