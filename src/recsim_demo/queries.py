"""Ask the served release what looks like pictures that it has never seen, and count how often it is right."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import httpx

from recsim_demo.feeds import Pixels, png
from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.progress import progress

K = 10
# As many as the HTTP API takes at a time.
PICTURES_A_REQUEST = 100


@dataclass(frozen=True)
class Answers:
    """All answers of one release."""

    release: int
    neighbours: list[list[dict[str, Any]]]
    """For each picture its `K` nearest products: `product_id`, `score`, `category`, ..."""
    precision_at_1: float
    precision_at_10: float


def ask(client: httpx.Client, images: Pixels, categories: list[str]) -> Answers:
    """Ask the HTTP API for the neighbours of each of `images` uint8 [n, h, w]; right is a neighbour of the picture's own category."""
    replies: list[dict[str, Any]] = []
    with progress("ask", len(images), "pictures") as done:
        for start in range(0, len(images), PICTURES_A_REQUEST):
            part = images[start : start + PICTURES_A_REQUEST]
            replies.append(_ask(client, part))
            done(len(part))
    releases = {reply["release"] for reply in replies}
    if len(releases) != 1:
        raise RecsimError(
            f"Answers came from releases {sorted(releases)}: serving swapped while the demo asked. Run it again."
        )
    neighbours = [found for reply in replies for found in reply["predictions"]]
    return Answers(
        releases.pop(),
        neighbours,
        _precision(neighbours, categories, 1),
        _precision(neighbours, categories, K),
    )


def _ask(client: httpx.Client, images: Pixels) -> dict[str, Any]:
    rows = [[base64.b64encode(png(pixels)).decode()] for pixels in images]
    question = {"dataframe_split": {"columns": ["image"], "data": rows}, "params": {"k": K}}
    reply = client.post("/invocations", json=question)
    if reply.is_error:
        raise RecsimError(f"The HTTP API refuses the pictures ({reply.status_code}): {reply.text[:300]}")
    return dict(reply.json())


def _precision(neighbours: list[list[dict[str, Any]]], categories: list[str], k: int) -> float:
    right: int = sum(
        row["category"] == own for rows, own in zip(neighbours, categories, strict=True) for row in rows[:k]
    )
    return round(right / (k * len(categories)), 4)
