"""Benchmark of embedding and indexing, compared with other indexes, other runtimes and full rebuilds."""
