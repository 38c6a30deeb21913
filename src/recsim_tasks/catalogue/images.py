"""Open a product image safely, and name it by its content. The only module that decodes what others delivered."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from pathlib import PurePath

from PIL import Image, ImageOps, UnidentifiedImageError

from recsim_tasks.foundation.errors import InputError

# Told to Pillow, which then tries no other of its decoders on what others deliver.
FORMATS = ("JPEG", "PNG", "WEBP")
FORMAT_BY_SUFFIX = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
JPEG_QUALITY = 85
# For pictures of the catalogue, which have passed RECSIM_IMAGE_MAX_PIXELS: that setting cannot be larger.
MAX_PIXELS = 89_478_485
# Pillow's own limit warns by filters that threads share; `open_image` has its own, checked on the header.
Image.MAX_IMAGE_PIXELS = None
COLOUR_MODES = {"RGB", "RGBA", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV"}


def open_image(data: bytes, max_pixels: int, name: str | None = None) -> Image.Image:
    """Decode JPEG, PNG or WebP bytes to mode `L` or `RGB`, turned upright; `InputError` with the reason if that fails.

    The pixel limit is checked on the header, before a pixel is decoded. Of several frames the first counts. A `name` whose suffix
    promises another of the formats is a reason to refuse.
    """
    if not data:
        raise InputError("the image has no bytes")
    try:
        return _decode(data, max_pixels, name or "")
    except InputError:
        raise
    except UnidentifiedImageError as error:  # whose own text names an object in memory, another one each time
        raise InputError(f"the image does not decode as {', '.join(FORMATS)}: its bytes begin like none of them") from error
    except (OSError, ValueError, SyntaxError, struct.error, zlib.error, EOFError) as error:
        raise InputError(f"the image does not decode as {', '.join(FORMATS)}: {error}") from error


def small_jpeg(data: bytes, side: int) -> bytes:
    """A picture of the catalogue, as it was delivered, as a JPEG of at most `side` x `side` pixels."""
    image = open_image(data, MAX_PIXELS).convert("RGB")
    image.thumbnail((side, side))
    small = io.BytesIO()
    image.save(small, "JPEG", quality=JPEG_QUALITY)
    return small.getvalue()


def image_hash(image: Image.Image) -> str:
    """SHA-256 of mode, size and pixels: the same picture packed or compressed losslessly anew keeps its name."""
    head = f"{image.mode}:{image.width}x{image.height}:".encode()
    return hashlib.sha256(head + image.tobytes()).hexdigest()


def is_one_colour(image: Image.Image) -> bool:
    """Whether every pixel is the same: what shops put where a picture is missing."""
    extrema = image.getextrema()
    bands = (extrema,) if image.mode == "L" else extrema
    return all(low == high for low, high in bands)  # type: ignore[misc]  # pairs, by band, but Pillow's type says less


def _decode(data: bytes, max_pixels: int, name: str) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        promised = FORMAT_BY_SUFFIX.get(PurePath(name).suffix.lower(), image.format)
        if promised != image.format:
            raise InputError(f"{name!r} promises {promised}, but the image is {image.format}")
        pixels = image.width * image.height
        if pixels > max_pixels:
            raise InputError(f"the image has {pixels:,} pixels, more than the {max_pixels:,} allowed (RECSIM_IMAGE_MAX_PIXELS)")
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        upright = _eight_bits(image) if image.mode.startswith("I") else image
        mode = "RGB" if upright.mode in COLOUR_MODES else "L"
        return upright if upright.mode == mode else upright.convert(mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    """The high byte of 16-bit grey; Pillow's own conversion cuts off all that is brighter than 255."""
    import numpy as np

    return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
