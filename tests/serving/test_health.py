from __future__ import annotations

from fastapi.testclient import TestClient


def test_readiness_names_release_and_catalogue(client: TestClient) -> None:
    body = client.get("/health/ready").json()
    assert (
        body["status"],
        body["release"],
        body["products"],
        body["cursor"]["version"],
        body["problem"],
    ) == ("ready", 1, 40, 0, None)
    assert body["oldest_release"] == 1
    assert client.get("/health/live").json() == {"status": "live"}


def test_metrics_count_by_route_and_not_by_product(client: TestClient) -> None:
    for number in range(3):
        client.get(f"/v1/products/p00{number}/similar")
    page = client.get("/metrics").text
    assert 'recsim_requests_total{route="/v1/products/{product_id:path}/similar",status="200"}' in page
    assert "p001" not in page
    assert "\nrecsim_release 1.0\n" in page
