"""Decode an image from base64, in the variants that feeds and clients write."""

from __future__ import annotations

import base64
import binascii
import re

from recsim_tasks.foundation.errors import InputError

DATA_URI = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
ADVICE = "Encode the bytes of a JPEG, PNG or WebP."
URL_ALPHABET = str.maketrans("-_", "+/", "=")


def from_base64(text: str) -> bytes:
    """Decode to bytes; `InputError` when `text` is not base64.

    A data URI, line breaks, the URL-safe alphabet (RFC 4648, section 5) and missing padding are accepted.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return _decode_leniently(text)


def _decode_leniently(text: str) -> bytes:
    start = DATA_URI.match(text.lstrip())
    packed = "".join((text.lstrip()[start.end() :] if start else text).split())
    if "=" in packed.rstrip("="):
        raise InputError(f"the image is not base64: it has padding in the middle. {ADVICE}")
    plain = packed.translate(URL_ALPHABET)
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"the image is not base64: {error}. {ADVICE}") from error
