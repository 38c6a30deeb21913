"""Limits that settings, decoders and releases share, each stated once."""

from __future__ import annotations

MAX_IMAGE_PIXELS = 89_478_485
"""The largest value of RECSIM_IMAGE_MAX_PIXELS and RECSIM_SERVING_MAX_PIXELS."""
DEFAULT_QUERY_PIXELS = 16_000_000
"""The default of RECSIM_SERVING_MAX_PIXELS, and the limit in an MLflow server, which reads no settings."""
