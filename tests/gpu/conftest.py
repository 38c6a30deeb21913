"""Tests that need a GPU: `make test ARGS="-m gpu"`, in a pytest of their own, whose TensorFlow sees it."""

from __future__ import annotations

import pytest

from learning.conftest import catalogue
from recsim_tasks.foundation.gpus import ask_tensorflow

__all__ = ["catalogue"]


@pytest.fixture(scope="session", autouse=True)
def gpu() -> None:
    visible = ask_tensorflow()
    if not visible.count:
        pytest.skip(f"TensorFlow sees no GPU: {visible.reason}")
