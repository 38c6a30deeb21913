"""Which deliveries of new images cause a retrain, and what the same images cost in precision."""
