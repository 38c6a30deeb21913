from __future__ import annotations

import json

import httpx
import numpy as np
import pytest

from recsim_demo.held_out import IMAGES_PER_REQUEST, K, run_queries
from recsim_tasks.foundation.errors import RecsimError

IMAGES = np.zeros((IMAGES_PER_REQUEST + 1, 28, 28), np.uint8)


def client(releases: list[int]) -> httpx.Client:
    """An API that finds one bag and then coats for every image; each reply comes from the next release."""
    products = [{"category": "Bag"}, *[{"category": "Coat"}] * (K - 1)]

    def reply(request: httpx.Request) -> httpx.Response:
        rows = json.loads(request.content)["dataframe_split"]["data"]
        assert len(rows) <= IMAGES_PER_REQUEST
        return httpx.Response(200, json={"release": releases.pop(0), "predictions": [products] * len(rows)})

    return httpx.Client(transport=httpx.MockTransport(reply), base_url="http://api")


def test_a_neighbour_of_the_images_category_is_relevant() -> None:
    results = run_queries(client([7, 7]), IMAGES, ["Bag"] * len(IMAGES))
    assert (results.release, len(results.neighbours)) == (7, len(IMAGES))
    assert (results.precision_at_1, results.precision_at_10) == (1.0, 0.1)
    assert run_queries(client([7, 7]), IMAGES, ["Shirt"] * len(IMAGES)).precision_at_10 == 0


def test_results_of_two_releases_are_not_mixed() -> None:
    with pytest.raises(RecsimError, match=r"releases \[7, 8\]"):
        run_queries(client([8, 7]), IMAGES, ["Bag"] * len(IMAGES))
