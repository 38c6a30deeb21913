"""The page itself, run by Streamlit from top to bottom at every click."""

from __future__ import annotations

from typing import Any

import streamlit as st

from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.settings import Settings, load_settings
from recsim_tasks.shop.client import Api

COLUMNS, SHELF, NEIGHBOURS = 6, 24, 18
STYLE = """<style>
.block-container {padding-top: 2.2rem; max-width: 1180px}
[data-testid="stImage"] img {border-radius: 8px; background: #f8fafc; image-rendering: auto; border: 1px solid #e2e8f0}
.card {font-size: .82rem; line-height: 1.3; margin: -.35rem 0 .3rem}
.card b, .card span {display: block; min-height: 1.3em; white-space: nowrap; overflow: hidden; text-overflow: ellipsis}
.card span {color: #64748b}
.badge {display: inline-block; padding: .15rem .6rem; border-radius: 999px; background: #ccfbf1; color: #115e59; font-size: .8rem}
@media (max-width: 640px) {[data-testid="stHorizontalBlock"] {flex-wrap: wrap} [data-testid="stColumn"] {min-width: 30% !important; flex: 1 1 30% !important}}
</style>"""


@st.cache_resource
def connect() -> Api:
    """One connection for all visitors."""
    settings = load_settings()
    token = settings.api_token.get_secret_value() if settings.api_token else None
    return Api(_address(settings), token)


def _address(settings: Settings) -> str:
    return settings.serving_url or f"http://{settings.host}:{settings.port}"


@st.cache_data(max_entries=2_000, ttl=300, show_spinner=False)
def picture(product_id: str, release: int) -> bytes | None:  # noqa: ARG001 - another release may show another picture
    """The picture of a product, kept for the visitors that follow."""
    return connect().image(product_id)


def sidebar(categories: dict[str, int]) -> dict[str, Any]:
    """What the neighbours must be like, as the visitor wants it."""
    with st.sidebar:
        st.subheader("Neighbours")
        wanted = st.multiselect("Categories", list(categories), placeholder="all")
        dearest = st.number_input("Up to price", min_value=0.0, value=None, placeholder="any", step=5.0)
        in_stock = st.toggle("In stock only")
    wishes: dict[str, Any] = {"k": NEIGHBOURS}
    if wanted:
        wishes["categories"] = wanted
    if dearest is not None:
        wishes["max_price"] = dearest
    if in_stock:
        wishes["in_stock"] = "true"
    return wishes


def grid(products: list[dict[str, Any]], release: int, place: str) -> None:
    """Cards in rows of `COLUMNS`; a click on one looks for more like it."""
    for start in range(0, len(products), COLUMNS):
        for column, product in zip(st.columns(COLUMNS), products[start : start + COLUMNS], strict=False):
            with column:
                card(product, release, place)


def card(product: dict[str, Any], release: int, place: str) -> None:
    """One product: picture, title, price, how alike it is."""
    data = picture(product["product_id"], release)
    if data:
        st.image(data, width="stretch")
    describe(product)
    st.button("More like this", key=f"{place}-{product['product_id']}", on_click=choose, args=(product,), width="stretch")


def describe(product: dict[str, Any]) -> None:
    """A product's words in three lines of their own, so that the buttons of a row stand level whatever they say."""
    price = f"{product['price']:.2f}" if product["price"] is not None else "no price"
    alike = [f"{product['score']:.2f} alike"] if "score" in product else []
    stock = [] if product["in_stock"] in (True, None) else ["sold out"]
    lines = (_plain(product["title"]), " · ".join([*stock, _plain(product["category"])]), " · ".join([price, *alike]))
    st.html('<div class="card"><b>{}</b><span>{}</span><span>{}</span></div>'.format(*lines))


def choose(product: dict[str, Any] | None) -> None:
    """Remember which product the visitor wants more of; None goes back to the shelf."""
    st.session_state["chosen"] = product


def _plain(text: str | None) -> str:
    """Text of a feed, safe inside markup."""
    return (text or "").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def header(told: dict[str, Any]) -> None:
    """Which release answers, and of which day's catalogue."""
    st.title("What looks like this?")
    total = sum(told["categories"].values())
    st.html(f'<span class="badge">release {told["release"]} · catalogue version {told["catalogue_version"]} · {total:,} products</span>')


def main() -> None:
    """Draw the page."""
    st.set_page_config(page_title="recsim shop window", layout="wide", initial_sidebar_state="auto")
    st.html(STYLE)
    try:
        draw(connect())
    except RecsimError as error:
        st.title("What looks like this?")
        st.info(f"Nothing to show yet. {error}")
        st.button("Try again")


def draw(api: Api) -> None:
    """The shelf, or the neighbours of what the visitor chose or uploaded."""
    told = api.shelf(SHELF, None, st.session_state.setdefault("seed", 0))
    header(told)
    wishes = sidebar(told["categories"])
    upload = st.file_uploader("A picture of your own", type=["png", "jpg", "jpeg", "webp"], key=f"upload-{st.session_state['seed']}")
    chosen = st.session_state.get("chosen")
    if upload is not None and chosen is None:
        st.image(upload.getvalue(), width=140)
        neighbours(api.similar(upload.getvalue(), wishes), "your picture")
    elif chosen is not None:
        st.button("← Back to the shelf", on_click=choose, args=(None,))
        card_of(chosen, told["release"])
        neighbours(api.more_like(chosen["product_id"], wishes), chosen["title"])
    else:
        st.subheader("From the shelf")
        grid(told["results"], told["release"], "shelf")
        st.button("Other products", on_click=shuffle)


def card_of(product: dict[str, Any], release: int) -> None:
    """The product that the visitor chose."""
    data = picture(product["product_id"], release)
    if data:
        st.image(data, width=140)
    describe({name: value for name, value in product.items() if name != "score"})  # its score was to another


def shuffle() -> None:
    """Put other products on the shelf."""
    st.session_state["seed"] += 1


def neighbours(told: dict[str, Any], of: str) -> None:
    """The grid of neighbours, or an honest word that there are none."""
    st.subheader(f"Most like {of}")
    if not told["results"]:
        st.info("No product meets these conditions. Widen the categories or the price.")
    grid(told["results"], told["release"], "neighbour")


main()
