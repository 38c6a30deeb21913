"""Images: decode them safely, identify them by their content."""
