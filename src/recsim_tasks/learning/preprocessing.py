"""Decodes product images to the network's input."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from PIL import Image

from recsim_tasks.arrays import BoolArray, UInt8Array
from recsim_tasks.catalogue.images.decode import open_image, open_query
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.limits import MAX_IMAGE_PIXELS

log = logging.getLogger(__name__)

# An image one pixel wide and 65,000 high has few pixels, but padded to a square it has billions.
LARGEST_SIDE = 4_096
# A JPEG that is decoded at a fraction of its size stays this many times as large as the network's input.
SCALED_BY = 2
# The colour behind transparent images. An encoder's embeddings depend on it.
BACKGROUND = "white"


@dataclass(frozen=True)
class Preprocessing:
    """A network's input: `size` x `size` pixels of `channels` values in 0..255, which the network scales."""

    size: int
    channels: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        return self.size, self.size, self.channels

    def as_json(self) -> dict[str, int]:
        """The form that model.json and manifests carry."""
        return asdict(self)


def decode(data: bytes, preprocessing: Preprocessing, max_pixels: int = MAX_IMAGE_PIXELS) -> UInt8Array:
    """Decode a PNG, JPEG or WebP to uint8 [size, size, channels]; `InputError` if `data` is none of them."""
    return resize_and_pad(open_image(data, max_pixels), preprocessing)


def decode_query(data: bytes, preprocessing: Preprocessing, max_pixels: int) -> UInt8Array:
    """Like `decode`, for a caller's image: a JPEG is decoded at a fraction of its size if that is enough."""
    return resize_and_pad(open_query(data, max_pixels, SCALED_BY * preprocessing.size), preprocessing)


def decode_all(
    images: Sequence[bytes], preprocessing: Preprocessing, max_pixels: int = MAX_IMAGE_PIXELS
) -> UInt8Array:
    """Decode n images to uint8 [n, size, size, channels]; `InputError` at the first that does not decode."""
    decoded = np.empty((len(images), *preprocessing.shape), np.uint8)
    for row, data in enumerate(images):
        decoded[row] = decode(data, preprocessing, max_pixels)
    return decoded


def decode_readable(
    images: Sequence[bytes | None], preprocessing: Preprocessing, max_pixels: int = MAX_IMAGE_PIXELS
) -> tuple[UInt8Array, BoolArray]:
    """Like `decode_all`, and which images decoded, bool [n]; the others are zeros, and the log says why."""
    decoded, readable = np.zeros((len(images), *preprocessing.shape), np.uint8), np.ones(len(images), bool)
    for row, image in enumerate(open_readable(images, max_pixels)):
        if image is None:
            readable[row] = False
        else:
            decoded[row] = resize_and_pad(image, preprocessing)
    return decoded, readable


def open_readable(images: Sequence[bytes | None], max_pixels: int) -> Iterator[Image.Image | None]:
    """Decode images of the catalogue one by one; None, with a warning, for one that does not decode."""
    for data in images:
        try:
            yield open_image(data or b"", max_pixels)
        except InputError as error:
            log.warning("An image of the catalogue is left out: %s", error)
            yield None


def resize_and_pad(image: Image.Image, preprocessing: Preprocessing) -> UInt8Array:
    """Bring an upright image to the network's size and channels; an oblong one is padded, never stretched.

    The padding has the colour of the image's first pixel, which in a product photograph is background.
    """
    image = image.convert("L" if preprocessing.channels == 1 else "RGB")
    if max(image.size) > LARGEST_SIDE:
        image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    side = max(image.size)
    if image.size != (side, side):
        square = Image.new(image.mode, (side, side), image.getpixel((0, 0)))
        square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
        image = square
    if side != preprocessing.size:
        image = image.resize((preprocessing.size, preprocessing.size), Image.Resampling.BILINEAR)
    return np.asarray(image, np.uint8).reshape(preprocessing.shape)
