"""One Spark session for all tests of the vectors."""

from __future__ import annotations

from sessions import shared_spark

__all__ = ["shared_spark"]
