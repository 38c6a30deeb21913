"""What the shop window shows, as HTML: text of feeds is shown letter by letter. Pure."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from recsim_tasks.catalogue.images.decode import small_jpeg
from recsim_tasks.foundation.errors import InputError

MARKUP = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~&$:])")
STYLE = """<style>
.block-container {padding-top: 1.4rem; max-width: 1240px}
header[data-testid="stHeader"] {background: transparent}
.bar {display: flex; align-items: baseline; justify-content: space-between; flex-wrap: wrap; gap: .2rem 1.2rem}
.bar a {font-size: 1.65rem; font-weight: 750; letter-spacing: -.03em; color: #0f172a; text-decoration: none}
.bar a span {color: #0f766e}
.bar small, .faint {color: #64748b; font-size: .82rem}
.shelf {display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 1.3rem 1rem; margin: .4rem 0 1rem}
.card {color: inherit; text-decoration: none; display: block; min-width: 0}
.card .frame, .big {aspect-ratio: 1; background: #f8fafc; border: 1px solid #e2e8f0; border-radius: 12px; overflow: hidden; display: grid; place-items: center}
.card .frame {transition: box-shadow .15s, border-color .15s}
.card:hover .frame, .card:focus-visible .frame {border-color: #0f766e; box-shadow: 0 6px 18px rgb(15 23 42 / .10)}
.frame img, .big img {width: 100%; height: 100%; object-fit: contain; padding: 8%; box-sizing: border-box; mix-blend-mode: multiply}
.card b, .card i {display: block; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; font-style: normal}
.card b {font-weight: 600; font-size: .9rem; margin-top: .45rem; color: #0f172a}
.card i {color: #64748b; font-size: .8rem}
.card .price {display: flex; justify-content: space-between; font-size: .88rem; color: #0f172a; gap: .5rem}
.alike {color: #0f766e; font-variant-numeric: tabular-nums; white-space: nowrap}
.gone {color: #b45309}
.big {max-width: 340px}
.about h2 {margin: 0; padding: 0 0 .2rem; font-size: 1.5rem; letter-spacing: -.02em}
.about .cost {font-size: 1.25rem; margin: .5rem 0 .2rem; color: #0f172a}
.closed {max-width: 34rem; margin: 5rem auto 1rem; text-align: center; color: #475569}
.closed h2 {letter-spacing: -.02em}
@media (max-width: 640px) {.shelf {grid-template-columns: repeat(2, 1fr); gap: 1rem .8rem} .block-container {padding: 1rem .9rem} .big {max-width: none}}
</style>"""
MINUTE, HOUR, DAY = 60, 3_600, 86_400
Product = Mapping[str, Any]


def bar(told: Mapping[str, Any], products: int, now: float) -> str:
    """The shop's name, and which release answers, from how fresh a catalogue."""
    day = time.strftime("%d %b, %H:%M UTC", time.gmtime(told["catalogue_at"]))
    line = f"{products:,} products · catalogue of {day}, {age(now - told['catalogue_at'])} old · release {told['release']}"
    return f'<div class="bar"><a href="?">rec<span>sim</span></a><small>{line}</small></div>'


def age(seconds: float) -> str:
    """How long, in the largest unit of which there are two."""
    for size, name in ((DAY, "days"), (HOUR, "hours"), (MINUTE, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return "a minute" if seconds >= MINUTE else "seconds"


def shelf(products: Sequence[Product], pictures: Mapping[str, bytes]) -> str:
    """A grid of products, each a link to its own page."""
    return f'<div class="shelf">{"".join(_card(product, pictures.get(product["product_id"])) for product in products)}</div>'


def about(product: Product) -> str:
    """A product's own words."""
    stock = {True: "in stock", False: '<span class="gone">sold out</span>'}.get(product["in_stock"], "")
    lines = " · ".join(part for part in (escape(product["category"] or ""), stock) if part)
    return (
        f'<div class="about"><h2>{escape(product["title"] or product["product_id"])}</h2><div class="faint">{lines}</div>'
        f'<div class="cost">{_price(product)}</div><div class="faint">{escape(product["product_id"])}</div></div>'
    )


def big(picture: bytes | None) -> str:
    """A picture in full size."""
    return f'<div class="big">{_image(picture, "")}</div>'


def closed(reason: str) -> str:
    """Nothing can be shown."""
    return (
        f'<div class="closed"><h2>The shop window is empty for the moment</h2><p>{escape(reason)}</p></div>'
    )


def preview(photo: bytes, side: int) -> bytes | None:
    """A visitor's photo as a small JPEG; None where this page cannot decode what the API has taken."""
    try:
        return small_jpeg(photo, side)
    except InputError:
        return None


def plain(text: str) -> str:
    """`text` as Streamlit's Markdown that shows it letter by letter."""
    return MARKUP.sub(r"\\\1", " ".join(text.split()))


def _card(product: Product, picture: bytes | None) -> str:
    title = escape(product["title"] or product["product_id"])
    alike = f'<span class="alike">{max(product["score"], 0):.0%} alike</span>' if "score" in product else ""
    gone = '<span class="gone">sold out</span>' if product["in_stock"] is False else ""
    return (
        f'<a class="card" href="?product={quote(product["product_id"], safe="")}" title="{title}"><div class="frame">{_image(picture, title)}</div>'
        f'<b>{title}</b><i>{escape(product["category"] or "")}</i><span class="price"><span>{gone or _price(product)}</span>{alike}</span></a>'
    )


def _price(product: Product) -> str:
    return "" if product["price"] is None else f"{product['price']:,.2f}"


def _image(picture: bytes | None, title: str) -> str:
    if not picture:
        return '<span class="faint">no picture</span>'
    return f'<img alt="{title}" src="data:image/jpeg;base64,{base64.b64encode(picture).decode()}">'
