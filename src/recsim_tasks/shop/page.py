"""The page, which Streamlit runs at every click; its state is in the URL, so that links can be shared."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import streamlit as st

from recsim_tasks.foundation.errors import InputError, RecsimError
from recsim_tasks.foundation.settings import Settings, load_settings
from recsim_tasks.shop import components
from recsim_tasks.shop.api_client import ApiClient, Product, ProductPage, SearchOptions, SimilarProducts

PAGE_SIZE, RESULT_COUNTS = 24, (12, 24, 48)
SMALL, LARGE = 240, 640
IMAGE_THREADS = 8
FILE_TYPES = ["png", "jpg", "jpeg", "webp"]


@st.cache_resource
def connect() -> ApiClient:
    """Return the client that all visitors share."""
    settings = load_settings()
    token = settings.api_token.get_secret_value() if settings.api_token else None
    return ApiClient(_api_url(settings), token)


def _api_url(settings: Settings) -> str:
    return settings.serving_url or f"http://{settings.host}:{settings.port}"


@st.cache_data(max_entries=5_000, ttl=300, show_spinner=False)
def product_image(product_id: str, side: int, release: int) -> bytes | None:  # noqa: ARG001 - part of the cache's key
    """Return the image of a product in a release; cached for all visitors."""
    return connect().image(product_id, side)


def small_images(products: Sequence[Product], release: int) -> dict[str, bytes]:
    """Return the small images of products by id, without those that are not available."""
    ids = [product["product_id"] for product in products]
    with ThreadPoolExecutor(IMAGE_THREADS) as pool:
        images = pool.map(lambda product_id: image_or_none(product_id, SMALL, release), ids)
        return {product_id: data for product_id, data in zip(ids, images, strict=True) if data}


def image_or_none(product_id: str, side: int, release: int) -> bytes | None:
    """Return an image, or None when it is not available: the page is usable without it."""
    try:
        return product_image(product_id, side, release)
    except RecsimError:
        return None


def main() -> None:
    """Draw the page, or why it cannot be drawn."""
    st.set_page_config(
        page_title="recsim shop", page_icon="🛍️", layout="wide", initial_sidebar_state="collapsed"
    )
    st.html(components.STYLESHEET)
    try:
        draw(connect())
    except RecsimError as error:
        st.html(components.unavailable(str(error)))
        _, middle, _ = st.columns([2, 1, 2])
        middle.button("Try again", width="stretch")


def draw(api: ApiClient) -> None:
    """Draw the products similar to a photo or to a product, or the list of products."""
    category, number = st.query_params.get("category"), _page_number()
    listing = api.list_products(size=PAGE_SIZE, category=category, seed=_seed(), page=number)
    products = sum(listing["categories"].values())
    st.html(components.header(listing["release"], listing["catalogue_at"], products, time.time()))
    photo = photo_search()
    product_id = st.query_params.get("product")
    if photo is not None:
        draw_similar_to_photo(api, photo, listing["categories"])
    elif product_id is not None:
        draw_product(api, product_id, listing)
    else:
        draw_listing(listing, category, number)


def photo_search() -> bytes | None:
    """Return a photo that the visitor uploads or takes."""
    with st.popover("Search by photo", icon=":material/photo_camera:"):
        upload, camera = st.tabs(["Upload", "Take a photo"])
        uploaded = upload.file_uploader("A photo of what you are looking for", type=FILE_TYPES, key="upload")
        # The browser asks for permission as soon as the camera is shown, so it is shown on request.
        taken = camera.camera_input("Photo", key="camera") if camera.toggle("Use the camera") else None
    photo = uploaded or taken
    return photo.getvalue() if photo is not None else None


def draw_listing(listing: ProductPage, category: str | None, number: int) -> None:
    """Draw the categories and a page of products."""
    names = list(listing["categories"])
    chosen = st.pills(
        "Category",
        names,
        default=category if category in names else None,
        format_func=lambda name: f"{components.escape_markdown(name)}  {listing['categories'][name]:,}",
        label_visibility="collapsed",
    )
    if chosen != category:
        st.query_params.from_dict({"category": chosen} if chosen else {})
        st.rerun()
    draw_grid(listing)
    if not listing["results"]:
        st.info("There are no more products.")
    before, _, after = st.columns([1, 3, 1])
    if number > 0 and before.button("← Previous", width="stretch"):
        _go_to_page(number - 1)
    if len(listing["results"]) == PAGE_SIZE and after.button("Next →", width="stretch"):
        _go_to_page(number + 1)


def draw_product(api: ApiClient, product_id: str, listing: ProductPage) -> None:
    """Draw a product, and the products similar to it."""
    product = api.product(product_id)
    if product is None:
        st.info("This product is no longer available. Here are other products.")
        draw_listing(listing, st.query_params.get("category"), _page_number())
        return
    left, right = st.columns([1, 2], gap="large")
    left.html(components.large_image(image_or_none(product_id, LARGE, listing["release"])))
    with right:
        st.html(components.product_details(product))
        if st.button("Back to all products", icon=":material/arrow_back:"):
            st.query_params.clear()
            st.rerun()
        options = search_options(listing["categories"])
    st.subheader("Similar products")
    draw_results(api.search_by_product(product_id, options))


def draw_similar_to_photo(api: ApiClient, photo: bytes, categories: dict[str, int]) -> None:
    """Draw the visitor's photo, and the products similar to it."""
    left, right = st.columns([1, 2], gap="large")
    with right:
        options = search_options(categories)
    st.subheader("Similar to your photo")
    try:
        results = api.search_by_image(photo, options)
    except InputError as error:
        st.error(components.escape_markdown(f"This image cannot be used: {error}"))
        return
    left.html(components.large_image(components.preview(photo, LARGE)))
    draw_results(results)


def search_options(categories: dict[str, int]) -> SearchOptions:
    """Return the search options that the visitor has set."""
    with st.expander("Filter", icon=":material/tune:"):
        chosen = st.multiselect("Categories", list(categories), placeholder="all")
        max_price = st.number_input("Maximum price", min_value=0.0, value=None, placeholder="any", step=5.0)
        in_stock = st.toggle("In stock only")
        distinct = st.toggle("Hide copies of the same image", value=True)
        count = st.segmented_control("Number of results", RESULT_COUNTS, default=RESULT_COUNTS[0])
    options: SearchOptions = {"k": count or RESULT_COUNTS[0], "distinct": distinct}
    if chosen:
        options["categories"] = chosen
    if max_price is not None:
        options["max_price"] = max_price
    if in_stock:
        options["in_stock"] = True
    return options


def draw_results(response: SimilarProducts) -> None:
    """Draw the results of a search."""
    if not response["results"]:
        st.info("No product matches these filters. Add categories, or raise the maximum price.")
    draw_grid(response)


def draw_grid(response: ProductPage | SimilarProducts) -> None:
    """Draw the products of a response."""
    products = response["results"]
    st.html(components.product_grid(products, small_images(products, response["release"])))


def _page_number() -> int:
    """Return the page in the URL, which may be any text."""
    given = st.query_params.get("page", "0")
    return int(given) if given.isdecimal() and len(given) < 7 else 0


def _go_to_page(number: int) -> None:
    st.query_params["page"] = str(number)
    st.rerun()


def _seed() -> int:
    """Return a seed that changes every day, and is the same for all visitors."""
    return int(time.time() // 86_400)


main()
