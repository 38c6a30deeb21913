"""What is measured: each package a command that runs both sides of a comparison and ends with one JSON line."""
