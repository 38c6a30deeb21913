"""Image files assembled byte by byte, as other programs write them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
Entry = tuple[int, int, int, bytes]
SIX = (0x0112, 3, 1, b"\x06\0\0\0")


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def product(width: int = 12, height: int = 8, seed: int = 0) -> Image.Image:
    """A coloured block on white that looks different in every orientation."""
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[1 : height - 2, 2 : width - 1] = np.random.default_rng(seed).integers(
        0, 200, (height - 3, width - 3, 3)
    )
    return Image.fromarray(pixels)


def chunk(name: bytes, data: bytes, checksum: int | None = None) -> bytes:
    return (
        struct.pack(">I", len(data))
        + name
        + data
        + struct.pack(">I", zlib.crc32(name + data) if checksum is None else checksum)
    )


def with_chunks(png: bytes, *chunks: bytes, before: bytes = b"IDAT") -> bytes:
    """The PNG with chunks inserted before its first `before`."""
    at = png.index(before) - 4
    return png[:at] + b"".join(chunks) + png[at:]


def raw_png(
    samples: np.ndarray[Any, Any], bits: int, colour: int, transparent: bytes = b"", palette: bytes = b""
) -> bytes:
    """A PNG of `samples` [height, width, channels], `bits` each, of a colour type.

    `transparent` is its tRNS chunk.
    """
    height, width = samples.shape[:2]
    row_bits = np.unpackbits(samples.astype(">u2").reshape(height, -1, 1).view(np.uint8), axis=-1)[
        ..., 16 - bits :
    ]
    rows = np.packbits(row_bits.reshape(height, -1), axis=-1)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    parts = [
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)),
        chunk(b"PLTE", palette) if palette else b"",
        chunk(b"tRNS", transparent) if transparent else b"",
        chunk(b"IDAT", zlib.compress(lines)),
        chunk(b"IEND", b""),
    ]
    return SIGNATURE + b"".join(parts)


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    """The JPEG with segments inserted after its first two bytes."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def exif(entries: Iterable[Entry], order: str = "<", claimed: int | None = None) -> bytes:
    """A TIFF directory as EXIF has it: entries of tag, type, count and the four bytes of value or offset."""
    body = [struct.pack(f"{order}HHI", tag, kind, count) + value for tag, kind, count, value in entries]
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8)
    return (
        head + struct.pack(f"{order}H", len(body) if claimed is None else claimed) + b"".join(body) + bytes(4)
    )
