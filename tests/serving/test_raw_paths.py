from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
from deltalake import write_deltalake
from hypothesis import given
from hypothesis import strategies as st

from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.bundle import BundleContents, Release, assemble
from recsim_tasks.serving.app import create_app
from recsim_tasks.serving.connections import Connection
from recsim_tasks.serving.hot_swap import ServedRelease
from recsim_tasks.serving.product_listing import ProductListing
from recsim_tasks.serving.raw_paths import normalised
from recsim_tasks.shop.api_client import ApiClient
from release.bundles import AT, METRICS, TRAINING, make_index, make_model, png_image, products
from serving.sockets import listening

IDS = [
    *(
        "MUSIC",
        "MUSIC/similar",
        "MUSIC/image",
        "MUSIC/similar/image",
        "similar",
        "image",
        "/similar",
        "similar/similar",
    ),
    *("AC/DC-1", "/a", "a/", "//", "a//b", "/", ".", "..", "../..", "a/../b", "a/./b", "..a"),
    *(
        "%2F",
        "a%2Fb",
        "%",
        "100%",
        "a?b",
        "a#b",
        "a;b=c",
        "a&b",
        "a+b",
        "a b",
        " a ",
        "a:b",
        "a@b",
        "[a]",
        '"',
        "'",
        "\\",
        "a\nb",
        "\t",
    ),
    *("Größe 42", "裙子", "👟", "e\u0301", "\u200b", "\x7f"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of products with these ids, each with an image of its own."""
    folder = tmp_path_factory.mktemp("addresses")
    plain = products(len(IDS))
    table = plain.set_column(plain.schema.get_field_index("product_id"), "product_id", [IDS])
    write_deltalake(str(folder / "home" / "tables" / "products"), table)
    model = make_model(folder / "model")
    index = make_index(folder / "index", model, table)
    assemble(BundleContents(model, index, [png_image(0)], METRICS, TRAINING, AT), folder / "release")
    app = create_app(Settings.model_construct(home=folder / "home"))
    release = Release.open(folder / "release")
    app.state.swap.current = ServedRelease(1, release, ProductListing(release.index.products))
    app.state.swap.start = app.state.swap.poll = lambda: None  # what serves is decided here
    with listening(app, Connection) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def api(address: str) -> ApiClient:
    return ApiClient(address)


@pytest.mark.parametrize("product_id", IDS)
def test_every_product_is_reached_with_its_neighbours_and_its_image(
    address: str, api: ApiClient, product_id: str
) -> None:
    product = api.product(product_id)
    assert product is not None
    assert product["product_id"] == product_id
    found = [row["product_id"] for row in api.search_by_product(product_id, {"k": len(IDS)})["results"]]
    assert set(found) == set(IDS) - {product_id}
    whole = httpx.get(f"{address}{api_path(product_id)}/image")
    assert whole.content == png_image(IDS.index(product_id))


def api_path(product_id: str) -> str:
    """As the documentation says: percent-encoded throughout."""
    return "/v1/products/" + "".join(f"%{byte:02X}" for byte in product_id.encode())


@pytest.mark.parametrize(
    ("path", "product_id"),
    [
        ("AC/DC-1", "AC/DC-1"),
        ("a/", "a/"),
        ("MUSIC%2fsimilar", "MUSIC/similar"),
        ("%4DUSIC", "MUSIC"),
        ("a+b", "a+b"),
        ("a%2Bb", "a+b"),
        ("a;b=c", "a;b=c"),
        ("a:b", "a:b"),
        ("a%252Fb", "a%2Fb"),
    ],
)
def test_characters_that_need_no_encoding_may_be_sent_unencoded(
    address: str, path: str, product_id: str
) -> None:
    answer = httpx.get(f"{address}/v1/products/{path}")
    assert answer.json()["results"][0]["product_id"] == product_id


@pytest.mark.parametrize(
    ("path", "excluded"),
    [("MUSIC/similar", "MUSIC"), ("MUSIC%2Fsimilar/similar", "MUSIC/similar"), ("MUSIC/%73imilar", "MUSIC")],
)
def test_an_unencoded_slash_separates_segments(address: str, path: str, excluded: str) -> None:
    found = {
        row["product_id"]
        for row in httpx.get(f"{address}/v1/products/{path}", params={"k": 1000}).json()["results"]
    }
    assert found == set(IDS) - {excluded}


@pytest.mark.parametrize("what", ["", "/similar", "/image"])
@pytest.mark.parametrize("name", ["%FF", "a%C3", "%ED%A0%80"])
def test_an_id_that_is_not_utf8_is_refused(address: str, name: str, what: str) -> None:
    answer = httpx.get(f"{address}/v1/products/{name}{what}")
    assert answer.status_code == 422
    assert "not valid Unicode" in answer.json()["detail"]


def test_other_routes_are_found_as_before(address: str) -> None:
    assert httpx.get(f"{address}/v1/products").status_code == 200
    assert httpx.post(f"{address}/v1/similar", files={"image": png_image(1)}).status_code == 200
    assert httpx.get(f"{address}/v1%2Fproducts").status_code == 404
    assert httpx.post(f"{address}/v1/products/MUSIC").status_code == 405


@given(st.text(max_size=20))
def test_normalising_a_path_keeps_its_meaning(name: str) -> None:
    text = "".join(letter for letter in name if not "\ud800" <= letter <= "\udfff")
    throughout = "".join(f"%{byte:02x}" for byte in text.encode())
    assert normalised(throughout) == normalised(quote(text, safe="")) == quote(text, safe="")
