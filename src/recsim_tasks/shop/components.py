"""The HTML of the shop, from templates that escape all text of feeds. Pure."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from recsim_tasks.catalogue.images.decode import small_jpeg
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.shop.api_client import Product

STYLESHEET = Path(__file__).with_name("templates") / "style.css"
MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~&$:])")
MINUTE, HOUR, DAY = 60, 3_600, 86_400


def header(release: int, catalogue_at: float, products: int, now: float) -> str:
    """Render the shop's name, the release, and the age of its catalogue; times in seconds since the epoch."""
    day = time.strftime("%d %b, %H:%M UTC", time.gmtime(catalogue_at))
    return _render("header", release=release, products=products, day=day, age=age(now - catalogue_at))


def product_grid(products: Sequence[Product], images: Mapping[str, bytes]) -> str:
    """Render a grid of products, each a link to its page; `images` are JPEGs by product id."""
    return _render("grid", products=products, images=images)


def product_details(product: Product) -> str:
    """Render the fields of a product."""
    return _render("details", product=product)


def large_image(data: bytes | None) -> str:
    """Render an image in full size."""
    return _render("large_image", data=data)


def unavailable(reason: str) -> str:
    """Render why nothing can be shown."""
    return _render("unavailable", reason=reason)


def age(seconds: float) -> str:
    """Return a duration in the largest unit of which there are at least two."""
    for size, name in ((DAY, "days"), (HOUR, "hours"), (MINUTE, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return "a minute" if seconds >= MINUTE else "seconds"


def preview(photo: bytes, side: int) -> bytes | None:
    """Return a visitor's photo as a small JPEG; None when it does not decode here."""
    try:
        return small_jpeg(photo, side)
    except InputError:
        return None


def escape_markdown(text: str) -> str:
    """Escape `text` so that Streamlit's Markdown shows it unchanged, in one line."""
    return MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def _render(name: str, **values: Any) -> str:
    return _templates().get_template(f"{name}.html.j2").render(**values)


@cache
def _templates() -> Environment:
    loader = PackageLoader("recsim_tasks.shop")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode()
    environment.filters["urlencode_all"] = lambda text: quote(text, safe="")
    return environment
