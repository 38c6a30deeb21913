"""Which copies of an image are found, and which different products are taken for copies."""
