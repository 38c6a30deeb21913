"""Any input gets an answer or a problem document, never an internal error. `--fuzz 10000` for more."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from PIL import Image
from pydantic import SecretStr

from recsim_tasks.serving.app import create_app
from release.bundles import png_image
from serving.conftest import LOCAL

REFUSALS = {400, 404, 405, 408, 413, 415, 422}


def packed(format_: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png_image(3))).convert("RGB").save(buffer, format_, **options)
    return buffer.getvalue()


WHOLE = [
    png_image(1),
    packed("JPEG"),
    packed("JPEG", progressive=True),
    packed("WEBP"),
    packed("WEBP", lossless=True),
    packed("PNG", optimize=True),
]


PARTS = [
    b"--x\r\n",
    b"--x--\r\n",
    b'Content-Disposition: form-data; name="image"; filename="a"\r\n\r\n',
    b"\r\n",
    png_image(1),
    b'name="k"',
    b"{",
    b'"image"',
]
"""Parts of bodies that mean something to a parser."""


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An image with bytes changed, removed, inserted or repeated, or with the end of another image."""
    data = bytearray(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(["change", "cut", "put", "repeat", "end"])):
            case "change" if data:
                data[at] = draw(st.integers(0, 255))
            case "cut":
                del data[at : at + draw(st.integers(1, 64))]
            case "put":
                data[at:at] = draw(st.binary(max_size=32))
            case "repeat":
                data[at:at] = data[at : at + 64]
            case _:
                data[at:] = draw(st.sampled_from(WHOLE))[at:]
    return bytes(data)


# Hypothesis leaves lone surrogates out unless it is asked for them.
ANY = st.characters()
LARGE = st.sampled_from([2**63, -(2**64), 10**400, 1e308, -1e308, 5e-324])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | LARGE | st.text(ANY, max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(ANY, max_size=10), inner, max_size=4),
    max_leaves=12,
)
WORDS = st.lists(st.text(ANY, max_size=8) | st.sampled_from(["\x00", "\ud800", "a" * 70_000]), max_size=3)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "k": st.integers() | LARGE | JSON,
        "categories": WORDS | JSON,
        "min_price": st.floats() | LARGE | JSON,
        "max_price": st.floats() | LARGE | JSON,
        "in_stock": JSON,
        "exclude": WORDS | JSON,
        "distinct": JSON,
    },
)


def guarded(client: TestClient) -> TestClient:
    """The same server, with a token."""
    settings: Any = client.app.state.settings  # type: ignore[attr-defined]
    app = create_app(settings.model_copy(update={"api_token": SecretStr("secret")}))
    app.state.swap.current = client.app.state.swap.current  # type: ignore[attr-defined]
    return TestClient(app, LOCAL, raise_server_exceptions=False)


def check(answer: Any, *also: int) -> None:
    assert answer.status_code == 200 or answer.status_code in {*REFUSALS, *also}, (
        answer.status_code,
        answer.text[:500],
    )
    assert "Traceback" not in answer.text
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        document = answer.json()
        assert document["status"] == answer.status_code
        assert len(document["detail"]) > 10


def fuzzed(config: pytest.Config, share: float = 1.0) -> limits:
    count = max(10, round(config.getoption("--fuzz") * share))
    return limits(max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck))


def test_damaged_images(client: TestClient, pytestconfig: pytest.Config) -> None:
    @fuzzed(pytestconfig)
    @given(data=damaged() | st.binary(max_size=200), upload=st.booleans())
    def ask(data: bytes, upload: bool) -> None:
        sent: dict[str, Any] = (
            {"files": {"image": data}} if upload else {"json": {"image": base64.b64encode(data).decode()}}
        )
        check(client.post("/v1/similar", **sent))

    ask()


def test_requests_of_any_form(client: TestClient, pytestconfig: pytest.Config) -> None:
    image = base64.b64encode(png_image(1)).decode()

    @fuzzed(pytestconfig)
    @given(options=OPTIONS, body=JSON)
    def ask(options: dict[str, Any], body: Any) -> None:
        for sent in ({"image": image, **options}, body):
            content = json.dumps(sent).encode()
            for path in ("/v1/similar", "/invocations"):
                check(client.post(path, content=content, headers={"Content-Type": "application/json"}))
        check(
            client.post(
                "/invocations",
                content=json.dumps({"inputs": {"image": [image]}, "params": options}).encode(),
                headers={"Content-Type": "application/json"},
            )
        )

    ask()


def test_bodies_of_any_bytes(client: TestClient, pytestconfig: pytest.Config) -> None:
    kinds = st.sampled_from(
        [
            "application/json",
            "multipart/form-data; boundary=x",
            "multipart/form-data",
            "text/plain",
            "application/x-www-form-urlencoded",
            "",
        ]
    )
    parts = st.lists(st.sampled_from(PARTS) | st.binary(max_size=20), max_size=8)

    @fuzzed(pytestconfig)
    @given(kind=kinds, content=parts.map(b"".join))
    def ask(kind: str, content: bytes) -> None:
        check(client.post("/v1/similar", content=content, headers={"Content-Type": kind}))

    ask()


def test_forms_in_any_character_set(client: TestClient, pytestconfig: pytest.Config) -> None:
    sets = st.sampled_from(
        [
            "utf-8",
            "utf-7",
            "utf-16",
            "unicode_escape",
            "raw_unicode_escape",
            "punycode",
            "idna",
            "cp037",
            "hex",
            "nothing",
        ]
    )
    names = st.sampled_from([b"k", b"categories", b"exclude", b"colour", b"+2AA-", b"min_price", b"distinct"])
    values = st.sampled_from(
        [b"\\ud800", b"+2AA-", b"\xed\xa0\x80", b"\x00", b"9" * 400, b"1e400", b"rings"]
    ) | st.binary(max_size=12)

    @fuzzed(pytestconfig)
    @given(charset=sets, fields=st.lists(st.tuples(names, values), max_size=4))
    def ask(charset: str, fields: list[tuple[bytes, bytes]]) -> None:
        part = b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
        upload = (
            b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
            + png_image(1)
            + b"\r\n--x--\r\n"
        )
        content = b"".join(part % field for field in fields) + upload
        check(
            client.post(
                "/v1/similar",
                content=content,
                headers={"Content-Type": f"multipart/form-data; boundary=x; charset={charset}"},
            )
        )

    ask()


def test_headers_of_any_bytes(client: TestClient, pytestconfig: pytest.Config) -> None:
    names = st.sampled_from(
        [
            "Authorization",
            "X-Request-Id",
            "Content-Type",
            "Accept",
            "Cookie",
            "If-None-Match",
            "Range",
            "Origin",
        ]
    )

    @fuzzed(pytestconfig)
    @given(
        headers=st.dictionaries(
            names, st.binary(max_size=30) | st.just(b"Bearer \xff\xed\xa0\x80"), max_size=3
        )
    )
    def ask(headers: dict[str, bytes]) -> None:
        sent = [(name.encode(), value) for name, value in headers.items()]
        for api in (client, guarded(client)):
            answer = api.post("/v1/similar", content=b"{}", headers=sent)
            check(answer, 401)

    ask()


def test_paths_and_filters(client: TestClient, pytestconfig: pytest.Config) -> None:
    text = st.text(max_size=30) | st.sampled_from(
        [
            "%ED%A0%80",
            "%ff",
            "a" * 3_000,
            "%00",
            "9" * 5_000,
            "..",
            "../..",
            "p001",
            "%2e%2e",
            "p001'--",
            "\x00",
            "p001/image",
        ]
    )

    @fuzzed(pytestconfig)
    @given(
        name=text,
        what=st.sampled_from(["", "/similar", "/image"]),
        params=st.dictionaries(
            st.sampled_from(["k", "seed", "page", "side", "category", "max_price", "colour"]),
            text,
            max_size=3,
        ),
    )
    def ask(name: str, what: str, params: dict[str, str]) -> None:
        try:
            check(client.get(f"/v1/products/{name}{what}", params=params))
            check(client.get("/v1/products", params=params))
        except (UnicodeEncodeError, ValueError):  # the client does not send it
            return
        except Exception as error:
            if type(error).__name__ != "InvalidURL":
                raise

    ask()
