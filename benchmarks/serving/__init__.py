"""What serving costs, beside MLflow's own server of the same release."""
