"""One Spark session for all tests of a folder: starting one takes longer than most of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from recsim_tasks.foundation.settings import load_settings
from recsim_tasks.foundation.spark import spark_session


@pytest.fixture(scope="package")
def shared_spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One Spark session for this process; a folder whose tests use it imports this into its conftest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECSIM_HOME", str(tmp_path_factory.mktemp("shared-spark")))
        settings = load_settings()
    with spark_session(settings, "tests"):
        yield
