from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsim_tasks.catalogue.images.base64 import from_base64
from recsim_tasks.foundation.errors import InputError

DATA = bytes(range(256)) + b"\xfb\xff\xfe"


@given(st.binary(max_size=400))
def test_variants_of_base64_are_decoded(data: bytes) -> None:
    plain, url = base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()
    written = [
        plain,
        url,
        plain.rstrip("="),
        url.rstrip("="),
        base64.encodebytes(data).decode(),
        plain.replace("A", "A\r\n"),
        f"  {plain}\n",
        f"data:image/png;base64,{plain}",
        f"data:;base64,{url}",
        f"DATA:image/jpeg;name=a.jpg;BASE64,\n{plain}",
    ]
    for text in written:
        assert from_base64(text) == data, text


@pytest.mark.parametrize(
    "text",
    [
        "@@",
        "A",
        "AA=A",
        "=AAA",
        "ä",
        "\0",
        "data:image/png,%89PNG",
        "data:image/png;base64,@@",
        "https://x.y/1.jpg",
        "AAAA\ud800",
    ],
)
def test_text_that_is_not_base64_is_refused(text: str) -> None:
    with pytest.raises(
        InputError, match=r"the image is not base64: .*\. Encode the bytes of a JPEG, PNG or WebP\.$"
    ):
        from_base64(text)


def test_an_empty_text_is_empty() -> None:
    assert from_base64("") == from_base64("data:image/png;base64,") == b""


def test_strict_base64_is_decoded_unchanged() -> None:
    assert from_base64(base64.b64encode(DATA).decode()) == DATA
