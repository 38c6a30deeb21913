"""Limits that settings, decoders and releases share, each stated once."""

from __future__ import annotations

MAX_IMAGE_PIXELS = 89_478_485
"""The most pixels that any image may have: the largest value of RECSIM_IMAGE_MAX_PIXELS and RECSIM_SERVING_MAX_PIXELS."""
DEFAULT_QUERY_PIXELS = 16_000_000
"""The most pixels of an image that a caller sends, where RECSIM_SERVING_MAX_PIXELS is not read: in an MLflow server."""
