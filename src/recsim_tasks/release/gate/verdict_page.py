"""The gate's verdict as one HTML page: the rules, and results of champion and challenger side by side."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from recsim_tasks.catalogue.images.decode import small_jpeg
from recsim_tasks.release.evaluation.queries import QueryResults
from recsim_tasks.release.gate.judge import Judgement

TEMPLATE = "verdict_page.html.j2"
# Queries that lost most, and as many that gained most, with this many neighbours each.
QUERIES, NEIGHBOURS = 6, 6
THUMBNAIL_PIXELS = 64
Images = Callable[[set[str]], Mapping[str, bytes]]
"""Gives images by their hashes, as far as they can be read."""


@dataclass(frozen=True)
class Product:
    """What the page shows of a product."""

    product_id: str
    category: str
    image_hash: str


@dataclass(frozen=True)
class Side:
    """The results of a release, and its products by id."""

    results: QueryResults
    product: Callable[[str], Product]

    def query(self, row: int) -> Product:
        """The queried product."""
        return self.product(str(self.results.product_ids[row]))

    def neighbours(self, row: int) -> list[Product]:
        """The products found, nearest first."""
        return [self.product(str(name)) for name in self.results.neighbours[row][:NEIGHBOURS]]


@dataclass(frozen=True)
class ShownQuery:
    """A query, and what each release finds; `champion` is None if there is none."""

    product: Product
    category: str
    champion: list[Product] | None
    challenger: list[Product]


def page(title: str, judgement: Judgement, challenger: Side, champion: Side | None, images: Images) -> str:
    """The page, which loads nothing from elsewhere."""
    rows = _most_different(challenger.results, champion.results if champion else None)
    queries = [_query(row, challenger, champion) for row in rows]
    products = [
        product
        for query in queries
        for product in (query.product, *(query.champion or ()), *query.challenger)
    ]
    loaded = images({product.image_hash for product in products})
    return _template().render(
        title=title,
        judgement=judgement,
        queries=queries,
        compared=champion is not None,
        thumbnails={image_hash: thumbnail(data) for image_hash, data in loaded.items()},
    )


def thumbnail(data: bytes) -> str:
    """An image as a `data:` address of a small JPEG."""
    return f"data:image/jpeg;base64,{base64.b64encode(small_jpeg(data, THUMBNAIL_PIXELS)).decode()}"


def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = _figure
    return environment.get_template(TEMPLATE)


def _query(row: int, challenger: Side, champion: Side | None) -> ShownQuery:
    return ShownQuery(
        product=(champion or challenger).query(row),
        category=str(challenger.results.labels[row]),
        champion=champion.neighbours(row) if champion else None,
        challenger=challenger.neighbours(row),
    )


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}"


def _most_different(challenger: QueryResults, champion: QueryResults | None) -> list[int]:
    """Rows of the queries that lost most, then of those that gained most; without a champion the worst."""
    own = challenger.metrics["precision_at_10"]
    change = own - champion.metrics["precision_at_10"] if champion else own
    order = np.argsort(change, kind="stable").tolist()
    return list(dict.fromkeys([*order[:QUERIES], *(order[::-1][:QUERIES] if champion else [])]))
