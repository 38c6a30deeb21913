"""Benchmark of `distinct`: which copies of an image it finds, and which products it takes for copies."""
