"""Open a product image safely, and name it by its content. The only module that decodes what others delivered."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib

from PIL import Image, ImageOps

from recsim_tasks.foundation.errors import InputError

# Told to Pillow, which then tries no other of its decoders on what others deliver.
FORMATS = ("JPEG", "PNG", "WEBP")
COLOUR_MODES = {"RGB", "RGBA", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV"}


def open_image(data: bytes, max_pixels: int) -> Image.Image:
    """Decode JPEG, PNG or WebP bytes to mode `L` or `RGB`, turned upright; `InputError` with the reason if that fails.

    The pixel limit is checked on the header, before a pixel is decoded.
    """
    if not data:
        raise InputError("the image has no bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _decode(data, max_pixels)
    except InputError:
        raise
    except (
        OSError,
        ValueError,
        SyntaxError,
        struct.error,
        zlib.error,
        EOFError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise InputError(f"the image does not decode as {', '.join(FORMATS)}: {error}") from error


def image_hash(image: Image.Image) -> str:
    """SHA-256 of mode, size and pixels: the same picture packed or compressed losslessly anew keeps its name."""
    head = f"{image.mode}:{image.width}x{image.height}:".encode()
    return hashlib.sha256(head + image.tobytes()).hexdigest()


def _decode(data: bytes, max_pixels: int) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        pixels = image.width * image.height
        if pixels > max_pixels:
            raise InputError(f"the image has {pixels:,} pixels, more than the {max_pixels:,} allowed (RECSIM_IMAGE_MAX_PIXELS)")
        image.load()
        upright = ImageOps.exif_transpose(image)
        return upright.convert("RGB" if upright.mode in COLOUR_MODES else "L")
