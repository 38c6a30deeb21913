"""The HTTP API as the shop window sees it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx

from recsim_tasks.foundation.errors import InputError, RecsimError, UnavailableError

TIMEOUT_SECONDS = 10.0
# What was sent is to blame, such as a picture that is none.
REFUSED = {400, 413, 415, 422}
# The server has no time for it now.
AWAY = {408, 429}


class Api:
    """Questions to the HTTP API at `url`; every answer is its JSON, which names the release."""

    def __init__(self, url: str, token: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, headers=headers)
        self._url = url

    def shelf(self, count: int, category: str | None, seed: int, page: int = 0) -> dict[str, Any]:
        """A page of products to start from, and all categories with their numbers of products."""
        wishes: dict[str, Any] = {"k": count, "seed": seed, "page": page} | (
            {"category": category} if category else {}
        )
        return self._json("GET", "/v1/products", params=wishes)

    def more_like(self, product_id: str, wishes: dict[str, Any]) -> dict[str, Any]:
        """The products most like a product."""
        return self._json("GET", f"{_address(product_id)}/similar", params=wishes)

    def similar(self, image: bytes, wishes: dict[str, Any]) -> dict[str, Any]:
        """The products most like a picture."""
        return self._json("POST", "/v1/similar", files={"image": image}, data=wishes)

    def product(self, product_id: str) -> dict[str, Any] | None:
        """What is known of one product; None when the release that answers has it not."""
        answer = self._ask("GET", _address(product_id))
        return (
            None
            if answer.status_code == httpx.codes.NOT_FOUND
            else dict(self._good(answer).json()["results"][0])
        )

    def image(self, product_id: str, side: int) -> bytes | None:
        """The picture of a product, at most `side` pixels wide and high, as a JPEG; None when it has gone meanwhile."""
        answer = self._ask("GET", f"{_address(product_id)}/image", params={"side": side})
        return None if answer.status_code == httpx.codes.NOT_FOUND else self._good(answer).content

    def _json(self, method: str, path: str, **parts: Any) -> dict[str, Any]:
        return dict(self._good(self._ask(method, path, **parts)).json())

    def _ask(self, method: str, path: str, **parts: Any) -> httpx.Response:
        try:
            return self._client.request(method, path, **parts)
        except httpx.HTTPError as error:
            raise UnavailableError(
                f"The HTTP API at {self._url} does not answer ({error}). Start it with `recsim serve`, or correct RECSIM_SERVING_URL."
            ) from error

    def _good(self, answer: httpx.Response) -> httpx.Response:
        if answer.status_code in REFUSED:
            raise InputError(_reason(answer))
        if answer.status_code in AWAY or answer.is_server_error:
            raise UnavailableError(_reason(answer))
        if answer.is_error:
            raise RecsimError(_reason(answer))
        return answer


def _address(product_id: str) -> str:
    """The path of a product; dots alone would be taken for a folder."""
    name = quote(product_id, safe="")
    return f"/v1/products/{name if name.strip('.') else name.replace('.', '%2E')}"


def _reason(answer: httpx.Response) -> str:
    try:
        told = answer.json()
    except ValueError:
        return f"The HTTP API answers with status {answer.status_code}."
    return str(told.get("detail") or told.get("title") or told)
