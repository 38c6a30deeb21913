"""No file of three refreshes and an outage of MLflow contains a secret of their environment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from recsim_tasks.foundation.redaction import REDACTED

if TYPE_CHECKING:
    from e2e.conftest import ThreeFeeds

pytestmark = pytest.mark.e2e
CANARY = "canary-"


def files_with(home: Path, text: str) -> set[str]:
    """The files under `home` that contain `text`."""
    pattern = text.encode()
    return {
        str(path.relative_to(home))
        for path in home.rglob("*")
        if path.is_file() and pattern in path.read_bytes()
    }


def test_no_file_contains_a_secret(three_feeds: ThreeFeeds) -> None:
    home = three_feeds.stack.home
    assert files_with(home, CANARY) == set()


def test_the_search_finds_the_address_that_comes_with_the_secrets(three_feeds: ThreeFeeds) -> None:
    files = files_with(three_feeds.stack.home, three_feeds.stack.mlflow.removeprefix("http://"))
    assert "airflow/airflow.db" in files
    assert any(name.startswith("airflow/logs/") for name in files)
    assert any(name.startswith("leases/") for name in files)


def test_public_pages_contain_no_secret(three_feeds: ThreeFeeds) -> None:
    for page in ("/health/live", "/health/ready", "/docs", "/openapi.json", "/v1/products"):
        text = httpx.get(three_feeds.stack.api + page, timeout=30).text
        assert CANARY not in text
        assert REDACTED not in text


def test_the_api_requires_its_token(three_feeds: ThreeFeeds) -> None:
    assert (
        httpx.get(f"{three_feeds.stack.api}/v1/products", timeout=30).status_code == httpx.codes.UNAUTHORIZED
    )
    with three_feeds.stack.client() as client:
        assert client.get("/v1/products").status_code == httpx.codes.OK
