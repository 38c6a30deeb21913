from __future__ import annotations

import base64
import gzip

import pytest

from catalogue.image_files import encoded, product
from recsim_tasks.catalogue.images.formats import format_of
from recsim_tasks.foundation.errors import InputError

OTHERS = [
    ("GIF", encoded(product(), "GIF")),
    ("BMP", encoded(product(), "BMP")),
    ("TIFF", encoded(product(), "TIFF")),
    ("AVIF", encoded(product(), "AVIF")),
    ("ICO", encoded(product(), "ICO")),
    ("PDF", encoded(product(), "PDF")),
    ("JPEG 2000", encoded(product(), "JPEG2000")),
    ("HEIC", bytes(3) + b"\x18ftypheic" + bytes(4) + b"heicmif1" + bytes(60)),
    ("HEIC", bytes(3) + b"\x1cftypmif1" + bytes(4) + b"mif1heicmiaf"),
    ("AVIF", bytes(3) + b"\x1cftypmif1" + bytes(4) + b"mif1avifmiaf"),
    ("MP4", bytes(3) + b"\x18ftypisom" + bytes(12)),
    ("JPEG XL", b"\xff\x0a" + bytes(20)),
    ("PSD", b"8BPS" + bytes(20)),
    ("RIFF", b"RIFF\0\0\0\0WAVE"),
    ("HTML", b"<!DOCTYPE html><html><body>404 Not Found</body></html>"),
    ("HTML", b"\xef\xbb\xbf \r\n<!-- error -->\n<HTML>"),
    ("SVG", b'<?xml version="1.0"?><!-- drawn --><svg xmlns="http://www.w3.org/2000/svg"/>'),
    ("XML", b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'),
    ("JSON", b'{"error": "not found"}'),
    ("ZIP", b"PK\3\4" + bytes(20)),
    ("gzip", gzip.compress(encoded(product()))),
    ("base64", base64.b64encode(encoded(product()))),
    ("base64", base64.b64encode(encoded(product(), "JPEG"))),
    ("data URI", b"data:image/png;base64,iVBORw0KGgo="),
    ("address", b"https://shop.example/1.jpg"),
]


@pytest.mark.parametrize(("name", "data"), OTHERS)
def test_the_reason_names_the_format(name: str, data: bytes) -> None:
    with pytest.raises(
        InputError, match=rf"^the image does not decode .*: it is (a |an )?{name}.*\. Send"
    ) as caught:
        format_of(data)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("data", [b"x", b"not an image", bytes(50), b"\0\0\0\x18ft"])
def test_an_unknown_format_is_refused_without_a_name(data: bytes) -> None:
    with pytest.raises(
        InputError, match=r"^the image does not decode .*: its first bytes match none of them\."
    ):
        format_of(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_accepted_format_is_named(kind: str) -> None:
    assert format_of(encoded(product(), kind)) == kind
