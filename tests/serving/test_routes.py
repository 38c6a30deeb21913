from __future__ import annotations

import base64
import io
import resource
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from recsim_tasks.serving.app import MAX_BODY_BYTES, create_app
from recsim_tasks.serving.requests import MAX_JSON_BYTES
from release.bundles import png_image, products
from serving.conftest import LOCAL


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def assert_problem(answer: Any, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert all(word in body["detail"] for word in words), body
    assert "Traceback" not in answer.text


def test_an_image_in_json_finds_its_product(client: TestClient) -> None:
    answer = client.post("/v1/similar", json={"image": encoded(png_image(7)), "k": 3})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["release"], answer.headers["X-Recsim-Release"]) == (1, "1")
    assert body["results"][0] == {
        "product_id": "p007",
        "score": pytest.approx(1),
        "title": "Product 7",
        "category": "rings",
        "price": 17.0,
        "in_stock": True,
    }
    assert len(body["results"]) == 3


def test_an_upload_and_json_get_the_same_response(client: TestClient) -> None:
    options = {"k": "5", "categories": ["rings"], "max_price": "40", "in_stock": "true"}
    uploaded = client.post("/v1/similar", files={"image": ("a.png", png_image(7))}, data=options)
    limits = {"categories": ["rings"], "max_price": 40, "in_stock": True}
    sent = {"image": encoded(png_image(7)), "k": 5, **limits}
    assert uploaded.status_code == 200, uploaded.text
    assert uploaded.json() == client.post("/v1/similar", json=sent).json()


def test_filters_apply_to_a_search_by_product(client: TestClient) -> None:
    options = {
        "k": 40,
        "categories": ["rings"],
        "min_price": 15,
        "max_price": 35,
        "in_stock": True,
        "exclude": ["p007"],
    }
    found = client.get("/v1/products/p005/similar", params=options).json()["results"]
    assert {row["product_id"] for row in found} == {f"p{n:03d}" for n in range(6, 26) if n % 2 and n % 3} - {
        "p007"
    }


def test_a_k_above_the_number_of_products_returns_all(client: TestClient) -> None:
    assert (
        len(client.post("/v1/similar", json={"image": encoded(png_image(1)), "k": 1000}).json()["results"])
        == 40
    )


@pytest.mark.parametrize("k", [0, -1, 1001, 10**9, "many", None, 1.5])
def test_an_invalid_k_is_refused(client: TestClient, k: object) -> None:
    assert_problem(client.post("/v1/similar", json={"image": encoded(png_image(1)), "k": k}), 422, "k: ")


def thin() -> bytes:
    """One pixel wide: few pixels, but a square around it would have 4 billion."""
    buffer = io.BytesIO()
    Image.new("L", (1, 65_000), 200).save(buffer, "PNG")
    return buffer.getvalue()


def test_an_image_of_one_pixel_width_takes_no_more_memory_than_another(client: TestClient) -> None:
    resource.setrlimit(
        resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 2**30, resource.RLIM_INFINITY)
    )
    try:
        assert client.post("/v1/similar", json={"image": encoded(thin())}).status_code == 200
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def bomb() -> bytes:
    """A PNG that says it is 40,000 x 40,000."""
    data = bytearray(png_image(0))
    data[16:24] = (40_000).to_bytes(4, "big") * 2
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "no bytes"),
        (b"not an image", "does not decode"),
        (png_image(1)[:80], ""),
        (b"GIF89a" + bytes(50), "does not decode"),
        (bomb(), ""),
    ],
    ids=["nothing", "text", "truncated", "gif", "bomb"],
)
@pytest.mark.parametrize("way", ["json", "upload", "invocations"])
def test_an_invalid_image_is_refused_with_a_sentence(
    client: TestClient, data: bytes, word: str, way: str
) -> None:
    parts: dict[str, Any] = {"json": {"image": encoded(data)}}
    if way == "upload":
        parts = {"files": {"image": ("a", data)}}
    elif way == "invocations":
        parts = {"json": {"dataframe_records": [{"image": encoded(data)}]}}
    answer = client.post("/invocations" if way == "invocations" else "/v1/similar", **parts)
    assert_problem(answer, 422, "image", word)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "CMYK", "1", "I;16", "LA"])
def test_an_image_of_any_mode_is_accepted(client: TestClient, mode: str) -> None:
    image = Image.fromarray(np.zeros((30, 20), np.uint16 if mode == "I;16" else np.uint8))
    buffer = io.BytesIO()
    (image if mode == "I;16" else image.convert(mode)).save(buffer, "JPEG" if mode == "CMYK" else "PNG")
    assert client.post("/v1/similar", json={"image": encoded(buffer.getvalue())}).status_code == 200


SURROGATE = (
    b'--x\r\nContent-Disposition: form-data; name="categories"\r\n\r\n\\ud800\r\n'
    b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    + png_image(1)
    + b"\r\n--x--\r\n"
)
SURROGATE_NAME = SURROGATE.replace(b"categories", b"+2AA-").replace(b"\\ud800", b"1")
FORM = b'--x\r\nContent-Disposition: form-data; name="k"\r\n\r\n5\r\n--x--\r\n'


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"json": {"image": "%%%"}}, 422),
        ({"json": {}}, 422),
        ({"json": []}, 422),
        ({"json": {"image": "", "colour": "red"}}, 422),
        (
            {
                "content": b'{"image": "\\ud800", "exclude": ["\\ud800"]}',
                "headers": {"Content-Type": "application/json"},
            },
            422,
        ),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400),
        ({"content": b"[" * 100_000, "headers": {"Content-Type": "application/json"}}, 400),
        ({"content": b"\xff\xfe", "headers": {"Content-Type": "application/json"}}, 400),
        ({"content": b"x", "headers": {"Content-Type": "text/plain"}}, 415),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400),
        (
            {
                "content": FORM,
                "headers": {"Content-Type": "multipart/form-data; boundary=x; charset=undefined"},
            },
            400,
        ),
        ({"content": b'{"image": "", "\\uDC00": 1}', "headers": {"Content-Type": "application/json"}}, 422),
        ({"content": b'{"image": "\xed\xa0\x80"}', "headers": {"Content-Type": "application/json"}}, 400),
        ({"content": b'{"k": ' + b"9" * 5_000 + b"}", "headers": {"Content-Type": "application/json"}}, 400),
        (
            {
                "content": b'{"image": "' + b"x" * MAX_JSON_BYTES + b'"}',
                "headers": {"Content-Type": "application/json"},
            },
            413,
        ),
        (
            {
                "content": SURROGATE,
                "headers": {"Content-Type": "multipart/form-data; boundary=x; charset=unicode_escape"},
            },
            422,
        ),
        (
            {
                "content": SURROGATE_NAME,
                "headers": {"Content-Type": "multipart/form-data; boundary=x; charset=utf-7"},
            },
            422,
        ),
        ({"json": {f"field {n}": 0 for n in range(100_000)}}, 422),
        ({"json": {"image": "", "exclude": [0] * 1_000_000}}, 422),
        ({"content": b"x"}, 415),
        ({"data": {"k": "3"}, "files": {"photo": b"x"}}, 422),
        ({"files": [("image", png_image(1)), ("image", png_image(2))]}, 400),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_invalid_body_is_refused(client: TestClient, body: dict[str, Any], status: int) -> None:
    assert_problem(client.post("/v1/similar", **body), status)


@pytest.mark.parametrize("half", ["\\ud800", "\\uDFFF", "a\\udc00b"])
@pytest.mark.parametrize("where", ["categories", "exclude"])
def test_a_lone_surrogate_is_refused_with_a_sentence(client: TestClient, half: str, where: str) -> None:
    content = f'{{"image": "{encoded(png_image(1))}", "{where}": ["{half}"]}}'
    assert_problem(
        client.post("/v1/similar", content=content, headers={"Content-Type": "application/json"}),
        422,
        "surrogate",
    )
    content = f'{{"inputs": {{"image": ["{encoded(png_image(1))}"]}}, "params": {{"{where}": ["{half}"]}}}}'
    assert_problem(client.post("/invocations", content=content), 422, "surrogate")
    whole = f'{{"image": "{encoded(png_image(1))}", "{where}": ["\\ud83d\\ude00"]}}'
    assert (
        client.post("/v1/similar", content=whole, headers={"Content-Type": "application/json"}).status_code
        == 200
    )


@pytest.mark.parametrize(
    "given", [{"min_price": "nan"}, {"max_price": "-1"}, {"in_stock": "perhaps"}, {"colour": "red"}]
)
def test_an_unknown_or_invalid_filter_is_refused(client: TestClient, given: dict[str, str]) -> None:
    assert_problem(client.get("/v1/products/p001/similar", params=given), 422, next(iter(given)))


@pytest.mark.parametrize(
    "name", ["nothing", "../../etc/passwd", "p001' OR '1'='1", "a/b", "%00", "p001%2Fimage"]
)
@pytest.mark.parametrize("what", ["similar", "image"])
def test_an_unknown_product_is_not_found(client: TestClient, name: str, what: str) -> None:
    answer = client.get(f"/v1/products/{name.replace('/', '%2F')}/{what}")
    assert_problem(answer, 404)
    assert "no such path" in answer.json()["detail"] or "is not in this release" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "parts", "status"),
    [
        ("POST", "/v1/similar", {"json": {"image": encoded(png_image(1))}}, 200),
        ("POST", "/v1/similar", {"files": {"image": png_image(1)}}, 200),
        ("POST", "/v1/similar", {"json": {"image": "none"}}, 422),
        ("POST", "/v1/similar", {"content": b"{", "headers": {"Content-Type": "application/json"}}, 400),
        ("POST", "/v1/similar", {"content": b"x"}, 415),
        ("POST", "/invocations", {"json": {"inputs": {"image": [encoded(png_image(1))]}}}, 200),
        ("POST", "/invocations", {"json": {}}, 422),
        ("GET", "/v1/products", {}, 200),
        ("GET", "/v1/products/p001/similar", {}, 200),
        ("GET", "/v1/products/p001/similar?k=0", {}, 422),
        ("GET", "/v1/products/nothing/similar", {}, 404),
        ("GET", "/v1/products/p001/image", {}, 200),
        ("GET", "/v1/products/nothing/image", {}, 404),
        ("GET", "/health/ready", {}, 200),
    ],
)
def test_every_response_names_its_release(
    client: TestClient, method: str, path: str, parts: dict[str, Any], status: int
) -> None:
    answer = client.request(method, path, **parts)
    assert (answer.status_code, answer.headers.get("X-Recsim-Release")) == (status, "1")
    if answer.headers["content-type"] == "application/json":
        assert answer.json()["release"] == 1


def test_without_a_catalogue_only_images_are_unavailable(client: TestClient, tmp_path: Path) -> None:
    open_app = client.app
    app = create_app(open_app.state.settings.model_copy(update={"products": str(tmp_path / "gone")}))  # type: ignore[attr-defined]
    app.state.swap.poll()
    other = TestClient(app, LOCAL)
    answer = other.get("/v1/products/p001/image")
    assert_problem(answer, 503, "There is no catalogue at")
    assert (answer.headers["X-Recsim-Release"], int(answer.headers["Retry-After"]) > 0) == ("1", True)
    assert other.get("/v1/products/p001/similar").status_code == 200


def test_a_body_over_the_limit_is_refused(client: TestClient) -> None:
    assert_problem(
        client.post(
            "/v1/similar", content=bytes(MAX_BODY_BYTES + 1), headers={"Content-Type": "application/json"}
        ),
        413,
    )


def test_the_image_of_a_product_is_returned_as_delivered(client: TestClient) -> None:
    answer = client.get("/v1/products/p003/image")
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (
        200,
        png_image(3),
        "image/png",
    )
    assert answer.headers["ETag"] == f'"{products(4).column("image_hash")[3].as_py()}-whole"'


def test_the_image_of_a_product_is_returned_in_the_requested_size(client: TestClient) -> None:
    whole, small = (
        client.get("/v1/products/p003/image", params=side) for side in ({"side": 2048}, {"side": 16})
    )
    assert small.headers["content-type"] == "image/jpeg"
    assert max(Image.open(io.BytesIO(small.content)).size) == 16
    assert small.headers["ETag"] != whole.headers["ETag"]
    for side in (0, 15, 2049, "large"):
        assert_problem(client.get("/v1/products/p003/image", params={"side": side}), 422, "side")


def test_a_product_is_returned_with_its_fields(client: TestClient) -> None:
    body = client.get("/v1/products/p007").json()
    assert body["results"] == [
        {"product_id": "p007", "title": "Product 7", "category": "rings", "price": 17.0, "in_stock": True}
    ]
    assert_problem(client.get("/v1/products/nothing"), 404)


def test_the_order_of_products_depends_on_the_seed(client: TestClient) -> None:
    first, again, other = (
        client.get("/v1/products", params={"k": 8, "seed": seed}).json() for seed in (1, 1, 2)
    )
    assert first == again
    assert {row["product_id"] for row in first["results"]} != {row["product_id"] for row in other["results"]}
    assert first["categories"] == {"rings": 20, "stripes": 20}


def test_pages_hold_every_product_once(client: TestClient) -> None:
    pages = [
        client.get("/v1/products", params={"k": 12, "seed": 3, "page": page}).json()["results"]
        for page in range(5)
    ]
    assert [len(page) for page in pages] == [12, 12, 12, 4, 0]
    assert len({row["product_id"] for page in pages for row in page}) == 40


def test_distinct_returns_no_more_products_and_the_same_nearest_one(
    client: TestClient,
) -> None:
    sent = {"image": encoded(png_image(7)), "k": 10}
    every, distinct = (
        client.post("/v1/similar", json={**sent, "distinct": given}).json()["results"]
        for given in (False, True)
    )
    assert every[0] == distinct[0]
    assert len(distinct) <= len(every)


def test_a_category_lists_its_products_alone(client: TestClient) -> None:
    rows = client.get("/v1/products", params={"category": "rings", "k": 200}).json()["results"]
    assert {row["category"] for row in rows} == {"rings"}
    assert len(rows) == 20
    assert client.get("/v1/products", params={"category": "none such"}).json()["results"] == []


IMAGES = [encoded(png_image(5)), encoded(png_image(6))]


@pytest.mark.parametrize(
    "table",
    [
        {"dataframe_split": {"columns": ["image"], "data": [[image] for image in IMAGES]}},
        {
            "dataframe_split": {
                "columns": ["n", "image"],
                "index": [0, 1],
                "data": [[1, image] for image in IMAGES],
            }
        },
        {"dataframe_records": [{"image": image} for image in IMAGES]},
        {"inputs": {"image": IMAGES}},
        {"inputs": [{"image": image} for image in IMAGES]},
    ],
    ids=["split", "split with index", "records", "columns", "rows"],
)
def test_mlflows_protocol_gets_a_list_per_row(client: TestClient, table: dict[str, Any]) -> None:
    answer = client.post("/invocations", json={**table, "params": {"k": 2}})
    assert answer.status_code == 200, answer.text
    assert [[len(row), row[0]["product_id"]] for row in answer.json()["predictions"]] == [
        [2, "p005"],
        [2, "p006"],
    ]
    assert answer.json()["release"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"dataframe_split": {"columns": ["photo"], "data": [["x"]]}},
        {"dataframe_split": {"columns": ["image"], "data": [[]]}},
        {"dataframe_records": [{}]},
        {"inputs": {}},
        {"inputs": {"image": [3]}},
        {"dataframe_records": [{"image": IMAGES[0]}], "inputs": {"image": IMAGES}},
        {"dataframe_records": [{"image": ""}] * 101},
        {"dataframe_records": [0] * 2_000_000},
        {"dataframe_split": {"columns": ["image"], "data": [0] * 2_000_000}},
        {"dataframe_split": {"columns": list(range(1_000_000)), "data": []}},
        {"inputs": {"image": [0] * 2_000_000}},
        {f"field {n}": 0 for n in range(100_000)},
        {"dataframe_records": [{"image": IMAGES[0]}], "params": {"k": 0}},
    ],
    ids=lambda body: str(body)[:40],
)
def test_an_invalid_invocation_is_refused(client: TestClient, body: dict[str, Any]) -> None:
    assert_problem(client.post("/invocations", json=body), 422)


def test_the_api_has_an_openapi_document(client: TestClient) -> None:
    assert client.get("/docs").status_code == 200
    paths = client.get("/openapi.json").json()["paths"]
    assert {
        "/invocations",
        "/v1/similar",
        "/v1/products",
        "/health/live",
        "/health/ready",
        "/metrics",
    } <= set(paths)
    assert set(paths["/v1/similar"]["post"]["requestBody"]["content"]) == {
        "application/json",
        "multipart/form-data",
    }
