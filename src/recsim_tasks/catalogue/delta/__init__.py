"""The Delta tables: read, written, and what their logs say."""
