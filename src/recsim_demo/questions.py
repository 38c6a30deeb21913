"""Ask the served release what looks like pictures that it has never seen, and count how often it is right."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx

from recsim_demo.feeds import Pixels, png
from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.progress import progress

CLIENTS = 4
K = 10
ASKED_AT_A_TIME = 400


@dataclass(frozen=True)
class Answers:
    """All answers of one release."""

    release: int
    neighbours: list[list[dict[str, Any]]]
    """For each picture its `K` nearest products: `product_id`, `score`, `category`, ..."""
    precision_at_1: float
    precision_at_10: float


def ask(api: str, images: Pixels, categories: list[str]) -> Answers:
    """Ask `api` for the neighbours of each of `images` uint8 [n, h, w]; right is a neighbour of the picture's own category."""
    with (
        httpx.Client(base_url=api, timeout=30) as client,
        ThreadPoolExecutor(CLIENTS) as pool,
        progress("ask", len(images), "pictures") as done,
    ):
        replies: list[dict[str, Any]] = []
        for start in range(0, len(images), ASKED_AT_A_TIME):
            part = list(pool.map(lambda pixels: _ask_one(client, pixels), images[start : start + ASKED_AT_A_TIME]))
            replies += part
            done(len(part))
    releases = {reply["release"] for reply in replies}
    if len(releases) != 1:
        raise RecsimError(f"Answers came from releases {sorted(releases)}: serving swapped while the demo asked. Run it again.")
    neighbours = [reply["results"] for reply in replies]
    return Answers(releases.pop(), neighbours, _precision(neighbours, categories, 1), _precision(neighbours, categories, K))


def _ask_one(client: httpx.Client, pixels: Pixels) -> dict[str, Any]:
    reply = client.post("/v1/similar", json={"image": base64.b64encode(png(pixels)).decode(), "k": K})
    if reply.is_error:
        raise RecsimError(f"The HTTP API refuses a picture ({reply.status_code}): {reply.text[:300]}")
    return dict(reply.json())


def _precision(neighbours: list[list[dict[str, Any]]], categories: list[str], k: int) -> float:
    right: int = sum(row["category"] == own for rows, own in zip(neighbours, categories, strict=True) for row in rows[:k])
    return round(right / (k * len(categories)), 4)
