"""A client of the HTTP API for the shop."""

from __future__ import annotations

from typing import Any, TypedDict
from urllib.parse import quote

import httpx

from recsim_tasks.foundation.errors import InputError, RecsimError, UnavailableError

TIMEOUT_SECONDS = 10.0
# The request is wrong, such as an image that does not decode.
INVALID = {400, 413, 415, 422}
# The server has no time for it now.
BUSY = {408, 429}


class Product(TypedDict):
    """A product as the HTTP API returns it."""

    product_id: str
    title: str | None
    category: str | None
    price: float | None
    in_stock: bool | None


class SimilarProduct(Product):
    """A product among the results of a search."""

    score: float


class ProductPage(TypedDict):
    """A page of products, and all categories with their number of products."""

    release: int
    catalogue_at: float
    categories: dict[str, int]
    results: list[Product]


class SimilarProducts(TypedDict):
    """The results of a search, best first."""

    release: int
    results: list[SimilarProduct]


class SearchOptions(TypedDict, total=False):
    """Options of a search; one that is left out has the API's default."""

    k: int
    categories: list[str]
    max_price: float
    in_stock: bool
    distinct: bool


class ApiClient:
    """Sends requests to the HTTP API at `url`; answers are its JSON, which names the release."""

    def __init__(self, url: str, token: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT_SECONDS, headers=headers)
        self._url = url

    def list_products(self, *, size: int, category: str | None, seed: int, page: int = 0) -> ProductPage:
        """Return a page of products, and all categories with their number of products."""
        params = {"k": size, "seed": seed, "page": page, **({"category": category} if category else {})}
        products: ProductPage = self._json("GET", "/v1/products", params=params)
        return products

    def search_by_product(self, product_id: str, options: SearchOptions) -> SimilarProducts:
        """Return the products most similar to a product."""
        similar: SimilarProducts = self._json("GET", f"{_path(product_id)}/similar", params=options)
        return similar

    def search_by_image(self, image: bytes, options: SearchOptions) -> SimilarProducts:
        """Return the products most similar to an image."""
        similar: SimilarProducts = self._json("POST", "/v1/similar", files={"image": image}, data=options)
        return similar

    def product(self, product_id: str) -> Product | None:
        """Return a product; None when the release does not have it."""
        response = self._send("GET", _path(product_id))
        if response.status_code == httpx.codes.NOT_FOUND:
            return None
        product: Product = self._parsed(response)["results"][0]
        return product

    def image(self, product_id: str, side: int) -> bytes | None:
        """Return a product's image as a JPEG of at most `side` pixels; None when there is none."""
        response = self._send("GET", f"{_path(product_id)}/image", params={"side": side})
        return None if response.status_code == httpx.codes.NOT_FOUND else self._checked(response).content

    def _json(self, method: str, path: str, **parts: Any) -> Any:
        return self._parsed(self._send(method, path, **parts))

    def _send(self, method: str, path: str, **parts: Any) -> httpx.Response:
        try:
            return self._client.request(method, path, **parts)
        except httpx.HTTPError as error:
            raise UnavailableError(
                f"The HTTP API at {self._url} does not answer ({error}). "
                "Start it with `recsim serve`, or correct RECSIM_SERVING_URL."
            ) from error

    def _parsed(self, response: httpx.Response) -> Any:
        try:
            return self._checked(response).json()
        except ValueError as error:
            raise RecsimError(
                f"The server at {self._url} does not answer in JSON. "
                "Set RECSIM_SERVING_URL to the address of `recsim serve`."
            ) from error

    def _checked(self, response: httpx.Response) -> httpx.Response:
        if response.status_code in INVALID:
            raise InputError(_reason(response))
        if response.status_code in BUSY or response.is_server_error:
            raise UnavailableError(_reason(response))
        if response.is_error:
            raise RecsimError(_reason(response))
        return response


def _path(product_id: str) -> str:
    """Return the path of a product; an id of dots alone would be taken for a folder."""
    name = quote(product_id, safe="")
    return f"/v1/products/{name if name.strip('.') else name.replace('.', '%2E')}"


def _reason(response: httpx.Response) -> str:
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        return f"The HTTP API answers with status {response.status_code}."
    return str(problem.get("detail") or problem.get("title") or problem)
