"""The page itself, run by Streamlit from top to bottom at every click. What is looked at stands in the address, so that it can be sent on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import streamlit as st

from recsim_tasks.foundation.errors import InputError, RecsimError
from recsim_tasks.foundation.settings import Settings, load_settings
from recsim_tasks.shop import components
from recsim_tasks.shop.client import Api

SHELF, LOOK_ALIKES = 24, (12, 24, 48)
SMALL, LARGE = 240, 640
AT_ONCE = 8
KINDS = ["png", "jpg", "jpeg", "webp"]
Found = dict[str, Any]


@st.cache_resource
def connect() -> Api:
    """One connection for all visitors."""
    settings = load_settings()
    token = settings.api_token.get_secret_value() if settings.api_token else None
    return Api(_address(settings), token)


def _address(settings: Settings) -> str:
    return settings.serving_url or f"http://{settings.host}:{settings.port}"


@st.cache_data(max_entries=5_000, ttl=300, show_spinner=False)
def picture(product_id: str, side: int, release: int) -> bytes | None:  # noqa: ARG001 - another release may show another picture
    """The picture of a product, kept for the visitors that follow."""
    return connect().image(product_id, side)


def pictures(products: Sequence[Found], release: int) -> dict[str, bytes]:
    """The small pictures of products, as far as there are any."""
    ids = [product["product_id"] for product in products]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(lambda product_id: picture_or_none(product_id, SMALL, release), ids)
        return {product_id: data for product_id, data in zip(ids, found, strict=True) if data}


def picture_or_none(product_id: str, side: int, release: int) -> bytes | None:
    """A picture that cannot be had leaves its place empty; the products can be looked at all the same."""
    try:
        return picture(product_id, side, release)
    except RecsimError:
        return None


def main() -> None:
    """Draw the page."""
    st.set_page_config(
        page_title="recsim shop window", page_icon="🛍️", layout="wide", initial_sidebar_state="collapsed"
    )
    st.html(components.STYLE)
    try:
        draw(connect())
    except RecsimError as error:
        st.html(components.closed(str(error)))
        _, middle, _ = st.columns([2, 1, 2])
        middle.button("Try again", width="stretch")


def draw(api: Api) -> None:
    """The look-alikes of a photo or of a product, or a shelf to start from."""
    category, number = st.query_params.get("category"), _page_number()
    told = api.shelf(SHELF, category, _seed(), number)
    st.html(components.bar(told, sum(told["categories"].values()), time.time()))
    photo = search_by_photo()
    product_id = st.query_params.get("product")
    if photo is not None:
        look_alikes_of_photo(api, photo, told)
    elif product_id is not None:
        look_alikes_of(api, product_id, told)
    else:
        browse(told, category, number)


def search_by_photo() -> bytes | None:
    """A photo that the visitor uploads or takes."""
    with st.popover("Search by photo", icon=":material/photo_camera:"):
        upload, camera = st.tabs(["Upload", "Take one"])
        given = upload.file_uploader("A picture of what you are looking for", type=KINDS, key="upload")
        # The camera is asked for only when somebody wants it.
        taken = camera.camera_input("A photo", key="camera") if camera.toggle("Use the camera") else None
    chosen = given or taken
    return chosen.getvalue() if chosen is not None else None


def browse(told: Found, category: str | None, number: int) -> None:
    """The shelf: categories, products, pages."""
    names = list(told["categories"])
    picked = st.pills(
        "Category",
        names,
        default=category if category in names else None,
        format_func=lambda name: f"{components.plain(name)}  {told['categories'][name]:,}",
        label_visibility="collapsed",
    )
    if picked != category:
        st.query_params.from_dict({"category": picked} if picked else {})
        st.rerun()
    st.html(components.shelf(told["results"], pictures(told["results"], told["release"])))
    if not told["results"]:
        st.info("There is nothing more on this shelf.")
    before, _, after = st.columns([1, 3, 1])
    if number > 0 and before.button("← Before", width="stretch"):
        _turn(number - 1)
    if len(told["results"]) == SHELF and after.button("More →", width="stretch"):
        _turn(number + 1)


def look_alikes_of(api: Api, product_id: str, told: Found) -> None:
    """A product's own page."""
    product = api.product(product_id)
    if product is None:
        st.info("This product is not in the shop any more. Here is what is.")
        browse(told, st.query_params.get("category"), _page_number())
        return
    left, right = st.columns([1, 2], gap="large")
    left.html(components.big(picture_or_none(product_id, LARGE, told["release"])))
    with right:
        st.html(components.about(product))
        if st.button("Back to the shelf", icon=":material/arrow_back:"):
            st.query_params.clear()
            st.rerun()
        wishes = filters(told["categories"])
    st.subheader("Looks like this")
    answer(api.more_like(product_id, wishes))


def look_alikes_of_photo(api: Api, photo: bytes, told: Found) -> None:
    """What looks like the visitor's photo."""
    left, right = st.columns([1, 2], gap="large")
    with right:
        wishes = filters(told["categories"])
    st.subheader("Looks like your photo")
    try:
        found = api.similar(photo, wishes)
    except InputError as error:
        st.error(components.plain(f"This picture cannot be used: {error}"))
        return
    left.html(components.big(components.preview(photo, LARGE)))
    answer(found)


def filters(categories: dict[str, int]) -> Found:
    """What look-alikes must be like, as the visitor wants it."""
    with st.expander("Filter", icon=":material/tune:"):
        wanted = st.multiselect("Categories", list(categories), placeholder="all")
        dearest = st.number_input("Up to price", min_value=0.0, value=None, placeholder="any", step=5.0)
        in_stock = st.toggle("In stock only")
        distinct = st.toggle("Nearly the same once", value=True)
        count = st.segmented_control("How many", LOOK_ALIKES, default=LOOK_ALIKES[0])
    wishes: Found = {
        "k": count or LOOK_ALIKES[0],
        "categories": wanted,
        "max_price": dearest,
        "in_stock": True if in_stock else None,
    }
    return {
        name: value for name, value in {**wishes, "distinct": distinct}.items() if value not in (None, [])
    }


def answer(told: Found) -> None:
    """The grid of look-alikes, or an honest word that there are none."""
    if not told["results"]:
        st.info("No product meets these conditions. Widen the categories or the price.")
    st.html(components.shelf(told["results"], pictures(told["results"], told["release"])))


def _page_number() -> int:
    """Of the address, which anybody may write."""
    given = st.query_params.get("page", "0")
    return int(given) if given.isdecimal() and len(given) < 7 else 0


def _turn(number: int) -> None:
    st.query_params["page"] = str(number)
    st.rerun()


def _seed() -> int:
    """Another shelf every day, the same for all visitors."""
    return int(time.time() // 86_400)


main()
