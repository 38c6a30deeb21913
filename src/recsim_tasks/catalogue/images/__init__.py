"""Images: decoded safely, and identified by their content."""
