"""Read the transparency of a decoded image, and composite the image on white, as a shop's page shows it."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageChops
from PIL.PngImagePlugin import PngImageFile

from recsim_tasks.arrays import Int32Array

WHITE: dict[str, int | tuple[int, ...]] = {"L": 255, "RGB": (255, 255, 255)}
# The byte of a PNG file that has the bits of a sample.
BIT_DEPTH = 24


def alpha_of(image: Image.Image, data: bytes) -> Image.Image | None:
    """Return the opacity of each pixel, mode `L`; None when all are opaque. `data` is the encoded file."""
    if image.mode in ("LA", "RGBA"):
        alpha = image.getchannel("A")
    elif image.mode == "P" and "transparency" in image.info:
        alpha = image.convert("RGBA").getchannel("A")
    elif "transparency" in image.info:
        alpha = _opaque_elsewhere(image, data)
    else:
        return None
    return None if alpha.getextrema() == (255, 255) else alpha


def put_on_white(image: Image.Image, alpha: Image.Image) -> None:
    """Blend an image of mode `L` or `RGB` with white, in place."""
    image.paste(WHITE[image.mode], (0, 0), ImageChops.invert(alpha))


def _opaque_elsewhere(image: Image.Image, data: bytes) -> Image.Image:
    """Opacity where a PNG file makes one grey or colour transparent, stated in samples of 1 to 16 bits."""
    bits = data[BIT_DEPTH]
    transparent = np.atleast_1d(image.info["transparency"])
    if image.mode == "L":  # Pillow scales samples of fewer bits to 0..255, but not the transparent one
        transparent = (transparent & (1 << bits) - 1) * 255 // ((1 << bits) - 1)
    same = (_samples(image, data, bits) == transparent).all(axis=-1)
    return Image.fromarray(np.where(same, 0, 255).astype(np.uint8))


def _samples(image: Image.Image, data: bytes, bits: int) -> Int32Array:
    """Return the samples of the file, int32 [height, width, 1 or 3]."""
    grey_or_colour = image.convert("L") if image.mode == "1" else image
    pixels = np.asarray(grey_or_colour, np.int32).reshape(image.height, image.width, -1)
    if image.mode != "RGB" or bits != 16:
        return pixels
    with PngImageFile(io.BytesIO(data)) as again:  # Pillow has decoded the high bytes; these are the low ones
        again.tile = [tile._replace(args="RGB;16L") for tile in again.tile]
        again.load()
        return pixels << 8 | np.asarray(again, np.int32)
