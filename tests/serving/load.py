"""Clients that send requests without pause, and the answers that they got."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from release.bundles import png_image


@dataclass
class LoadGenerator:
    """Clients in threads; answers are status, release in header and body, and the ends of the product ids."""

    address: str
    clients: int = 2
    answers: list[tuple[int, str | None, int, frozenset[str]]] = field(default_factory=list)
    failed: list[BaseException] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        done = threading.Event()
        threads = [threading.Thread(target=self._ask, args=(done,)) for _ in range(self.clients)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            done.set()
            for thread in threads:
                thread.join()

    def _ask(self, done: threading.Event) -> None:
        image = png_image(7)
        with httpx.Client(base_url=self.address, timeout=30) as client:
            while not done.is_set():
                try:
                    answer = client.post("/v1/similar", files={"image": image}, data={"k": "10"})
                    body = answer.json()
                    ends = frozenset(row["product_id"][-2:] for row in body["results"])
                    self.answers.append(
                        (answer.status_code, answer.headers.get("X-Recsim-Release"), body["release"], ends)
                    )
                except (httpx.HTTPError, ValueError, KeyError) as error:
                    self.failed.append(error)
                time.sleep(0.005)


def wait_for(address: str, release: int, problem: str | None = None) -> None:
    """Wait until `release` answers and the server is in this state, which keeps the champion from serving."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        state = httpx.get(f"{address}/health/ready", timeout=30).json()
        if state.get("release") == release and state["problem"] == problem:
            return
        time.sleep(0.05)
    raise AssertionError(f"no release {release} with {problem!r}: {state}")
