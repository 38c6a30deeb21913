"""What a first feed, a day's changes and an outage of MLflow leave behind holds no secret that they ran with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from recsim_tasks.foundation.redaction import REDACTED

if TYPE_CHECKING:
    from conftest import ThreeFeeds

pytestmark = pytest.mark.e2e
CANARY = "canary-"


def holding(home: Path, text: str) -> set[str]:
    """The files under `home` in which `text` stands, as plain bytes."""
    wanted = text.encode()
    return {
        str(path.relative_to(home))
        for path in home.rglob("*")
        if path.is_file() and wanted in path.read_bytes()
    }


def test_no_file_holds_a_secret(three_feeds: ThreeFeeds) -> None:
    home = three_feeds.stack.home
    assert holding(home, CANARY) == set()


def test_the_address_without_its_credentials_is_where_the_secrets_would_be(three_feeds: ThreeFeeds) -> None:
    found = holding(three_feeds.stack.home, three_feeds.stack.mlflow.removeprefix("http://"))
    assert "airflow/airflow.db" in found
    assert any(name.startswith("airflow/logs/") for name in found)
    assert any(name.startswith("leases/") for name in found)


def test_pages_that_ask_for_no_token_hold_no_secret(three_feeds: ThreeFeeds) -> None:
    for page in ("/health/live", "/health/ready", "/docs", "/openapi.json", "/v1/products"):
        text = httpx.get(three_feeds.stack.api + page, timeout=30).text
        assert CANARY not in text
        assert REDACTED not in text


def test_the_api_asks_for_its_token(three_feeds: ThreeFeeds) -> None:
    assert (
        httpx.get(f"{three_feeds.stack.api}/v1/products", timeout=30).status_code == httpx.codes.UNAUTHORIZED
    )
    with three_feeds.stack.client() as client:
        assert client.get("/v1/products").status_code == httpx.codes.OK
