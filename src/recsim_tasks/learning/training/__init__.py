"""Training: one network, trained by one or many processes."""
