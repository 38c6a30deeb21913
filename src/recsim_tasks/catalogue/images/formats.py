"""Recognise the format of an image by its first bytes."""

from __future__ import annotations

from collections.abc import Callable

from recsim_tasks.foundation.errors import InputError

ACCEPTED = ("JPEG", "PNG", "WEBP")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
STARTS = (
    (b"\xff\xd8\xff", "JPEG"),
    (PNG_SIGNATURE, "PNG"),
    (b"GIF8", "GIF"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"II\xbc\x01", "JPEG XR"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
    (b"\0\0\1\0", "ICO"),
    (b"8BPS", "PSD"),
    (b"qoif", "QOI"),
    (b"%PDF-", "PDF"),
    (b"%!PS", "PostScript"),
    (b"PK\3\4", "ZIP"),
    (b"\x1f\x8b", "gzip"),
    (b"iVBORw0KGgo", "base64 text"),
    (b"/9j/", "base64 text"),
    (b"UklGR", "base64 text"),
    (b"data:image/", "a data URI"),
    (b"https://", "an address"),
    (b"http://", "an address"),
)
# ISO base media files list their brands after `ftyp`; the first of these that is listed decides.
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
BRANDS = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys(HEIC_BRANDS, "HEIC")
# Also found after a comment or a declaration; the first match decides.
MARKUP = ((b"<svg", "SVG"), (b"<!doctype html", "HTML"), (b"<html", "HTML"), (b"<", "XML"))
HEAD_BYTES = 1_024


def format_of(data: bytes) -> str:
    """`JPEG`, `PNG` or `WEBP`; `InputError` names any other format that is recognised."""
    name = next((name for start, name in STARTS if data.startswith(start)), None) or _by_content(data)
    if name in ACCEPTED:
        return name
    what = f"it is {name}" if name else "its first bytes match none of them"
    raise InputError(f"the image does not decode as JPEG, PNG or WebP: {what}. Send one of these formats.")


def _by_content(data: bytes) -> str | None:
    looks: tuple[Callable[[bytes], str | None], ...] = (_riff, _iso_media, _text)
    return next((name for look in looks if (name := look(data[:HEAD_BYTES]))), None)


def _riff(head: bytes) -> str | None:
    if head[:4] != b"RIFF":
        return None
    return "WEBP" if head[8:12] == b"WEBP" else "RIFF (sound or video)"


def _iso_media(head: bytes) -> str | None:
    if head[4:8] != b"ftyp":
        return None
    size = int.from_bytes(head[:4], "big")
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, min(size, len(head)), 4))]
    return next((name for brand, name in BRANDS.items() if brand in brands), "MP4 (video)")


def _text(head: bytes) -> str | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"{", b"[")):
        return "JSON"
    return next((name for mark, name in MARKUP if mark in text), None) if text.startswith(b"<") else None
