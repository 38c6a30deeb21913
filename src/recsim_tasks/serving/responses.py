"""The schemas of all responses, for the OpenAPI document.

Handlers write JSON themselves, in their thread: validating each response would cost time and find nothing
new. `tests/serving/test_responses.py` compares real responses with these models.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Response(BaseModel):
    """A response; its fields are exactly these."""

    model_config = ConfigDict(extra="forbid")


class Product(Response):
    """A product; unknown fields are null."""

    product_id: str
    title: str | None
    category: str | None
    price: float | None
    in_stock: bool | None


class SimilarProduct(Product):
    """A product, and how similar its image is to the query."""

    score: float = Field(description="Cosine similarity of the embeddings; 1 for the same image.")


class ReleaseResponse(Response):
    """A response that names the release it comes from."""

    release: int = Field(description="Version of the release in the registry.")
    catalogue_version: int = Field(description="Version of the catalogue that the release reflects.")
    catalogue_at: float = Field(description="When that version was committed, in seconds since the epoch.")


class SimilarProducts(ReleaseResponse):
    """The most similar products, best first."""

    results: list[SimilarProduct]


class ProductPage(ReleaseResponse):
    """A page of products, and all categories of the release."""

    results: list[Product]
    categories: dict[str, int] = Field(description="Number of products by category.")


class SingleProduct(ReleaseResponse):
    """One product, as a list of one."""

    results: list[Product]


class Predictions(Response):
    """The most similar products of each row, best first."""

    predictions: list[list[SimilarProduct]]
    release: int = Field(description="Version of the release in the registry.")


class Liveness(Response):
    """The process answers."""

    status: Literal["live"]


class CatalogueCursor(Response):
    """A version of the catalogue's Delta table."""

    table_id: str
    version: int


class Readiness(Response):
    """The release that this server answers from."""

    status: Literal["ready"]
    release: int = Field(description="Version that this worker serves.")
    oldest_release: int = Field(description="Lowest version that any worker serves.")
    cursor: CatalogueCursor
    products: int
    model_fingerprint: str
    problem: str | None = Field(description="Why the champion is not being served; null when it is.")


class ProblemDetails(Response):
    """An error (RFC 9457)."""

    type: Literal["about:blank"]
    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="What is wrong, and what to do.")
