"""Queries the served release with held-out images, and measures its precision."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TypedDict

import httpx

from recsim_demo.feeds import png
from recsim_tasks.arrays import UInt8Array
from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.progress import progress

K = 10
# The limit of the HTTP API.
IMAGES_PER_REQUEST = 100


class Neighbour(TypedDict):
    """A product in an answer of the HTTP API."""

    product_id: str
    score: float
    category: str


class Reply(TypedDict):
    """The answer to one request: the neighbours of each image."""

    release: int
    predictions: list[list[Neighbour]]


@dataclass(frozen=True)
class QueryResults:
    """The results of one release."""

    release: int
    neighbours: list[list[Neighbour]]
    """For each image its `K` nearest products."""
    precision_at_1: float
    precision_at_10: float


def run_queries(client: httpx.Client, images: UInt8Array, categories: list[str]) -> QueryResults:
    """Query the HTTP API with `images` uint8 [n, h, w]; neighbours of the same category are relevant."""
    replies: list[Reply] = []
    with progress("query", len(images), "images") as advance:
        for start in range(0, len(images), IMAGES_PER_REQUEST):
            batch = images[start : start + IMAGES_PER_REQUEST]
            replies.append(_query(client, batch))
            advance(len(batch))
    releases = {reply["release"] for reply in replies}
    if len(releases) != 1:
        raise RecsimError(
            f"The results came from releases {sorted(releases)}: serving swapped meanwhile. Run it again."
        )
    neighbours = [products for reply in replies for products in reply["predictions"]]
    return QueryResults(
        releases.pop(),
        neighbours,
        _precision(neighbours, categories, 1),
        _precision(neighbours, categories, K),
    )


def _query(client: httpx.Client, images: UInt8Array) -> Reply:
    rows = [[base64.b64encode(png(pixels)).decode()] for pixels in images]
    request = {"dataframe_split": {"columns": ["image"], "data": rows}, "params": {"k": K}}
    reply = client.post("/invocations", json=request)
    if reply.is_error:
        raise RecsimError(f"The HTTP API refused the images ({reply.status_code}): {reply.text[:300]}")
    answer: Reply = reply.json()
    return answer


def _precision(neighbours: list[list[Neighbour]], categories: list[str], k: int) -> float:
    relevant: int = sum(
        product["category"] == category
        for products, category in zip(neighbours, categories, strict=True)
        for product in products[:k]
    )
    return round(relevant / (k * len(categories)), 4)
