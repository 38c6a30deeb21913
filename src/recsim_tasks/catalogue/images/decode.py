"""Decode a product image safely, as a browser would, and identify it by its content.

The only module that decodes what others delivered.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from recsim_tasks.catalogue.images.formats import format_of
from recsim_tasks.catalogue.images.metadata import (
    MOST_PARTS,
    Separated,
    orientation,
    separate_jpeg,
    separate_png,
    webp_size,
)
from recsim_tasks.catalogue.images.transparency import alpha_of, put_on_white
from recsim_tasks.catalogue.row_errors import reason_of
from recsim_tasks.foundation.errors import InputError

# Chosen by the first bytes: no other decoder of Pillow sees what others deliver.
Decoder = Callable[[io.BytesIO], ImageFile]
DECODERS: dict[str, Decoder] = {"JPEG": JpegImageFile, "PNG": PngImageFile, "WEBP": WebPImageFile}
SEPARATE: dict[str, Callable[[bytes, int], Separated]] = {"JPEG": separate_jpeg, "PNG": separate_png}
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
JPEG_QUALITY = 85
# For images of the catalogue, which have passed RECSIM_IMAGE_MAX_PIXELS: that setting cannot be larger.
MAX_PIXELS = 89_478_485
# Encoders write a chunk for every 4 or 8 KB, and the API takes 16 MB.
MOST_PARTS_OF_A_QUERY = 10_000
# Pillow's own limit warns by filters that threads share; `read_image` has its own, checked on the header.
Image.MAX_IMAGE_PIXELS = None
GREY_MODES = {"1", "L", "LA", "I;16"}


class Limits(NamedTuple):
    """How much work it may be to decode an image."""

    pixels: int
    """How many pixels the decoder may hold."""
    setting: str = "RECSIM_IMAGE_MAX_PIXELS"
    """The setting that says so."""
    parts: int = MOST_PARTS
    """How many segments or chunks the file may have."""
    side: int | None = None
    """Decode a JPEG at 1/2, 1/4 or 1/8 of its size, where width and height stay at least this long, pixels; None: as it is."""


class Decoded(NamedTuple):
    """An upright image on white, mode `L` or `RGB`, and its opacity, mode `L` (None: all is opaque)."""

    image: Image.Image
    alpha: Image.Image | None

    @property
    def digest(self) -> str:
        """The image's identity."""
        return image_hash(*self)

    @property
    def placeholder(self) -> str | None:
        """What is wrong with an image that shows nothing, such as shops put where an image is missing."""
        if self.alpha is not None and self.alpha.getextrema() == (0, 0):
            return "all of it is transparent"
        if is_one_colour(self.image):
            return "all its pixels have one colour" + (" on white" if self.alpha else "")
        return None


def read_image(data: bytes, limits: Limits) -> Decoded:
    """Decode JPEG, PNG or WebP bytes; `InputError` with the reason if that fails.

    The limits are checked on the header, before memory is taken for pixels. Of several frames the first counts.
    """
    if not data:
        raise InputError("the image has no bytes")
    kind = format_of(data)
    try:
        return _decode(data, kind, limits)
    except InputError:
        raise
    except Exception as error:  # Pillow raises nearly anything
        raise InputError(f"the image does not decode as {kind}: {reason_of(error)}") from error


def open_image(data: bytes, max_pixels: int) -> Image.Image:
    """Decode an image of the catalogue to mode `L` or `RGB`, upright and on white; `InputError` as `read_image`."""
    return read_image(data, Limits(max_pixels)).image


def open_query(data: bytes, max_pixels: int, side: int) -> Image.Image:
    """Decode an image that a caller of the API sends, as `open_image`, at little cost: of a large JPEG `side` pixels are enough."""
    return read_image(
        data, Limits(max_pixels, "RECSIM_SERVING_MAX_PIXELS", MOST_PARTS_OF_A_QUERY, side)
    ).image


def is_readable(data: bytes | None) -> bool:
    """Whether there is an image that decodes."""
    try:
        read_image(data or b"", Limits(MAX_PIXELS))
    except InputError:
        return False
    return True


def small_jpeg(data: bytes, side: int) -> bytes:
    """An image as it was delivered, as a JPEG of at most `side` x `side` pixels."""
    image = read_image(data, Limits(MAX_PIXELS, side=side)).image.convert("RGB")
    image.thumbnail((side, side))
    small = io.BytesIO()
    image.save(small, "JPEG", quality=JPEG_QUALITY)
    return small.getvalue()


def image_hash(image: Image.Image, alpha: Image.Image | None = None) -> str:
    """SHA-256 of mode, size, pixels on white and opacity; a lossless repack keeps it."""
    head = f"{image.mode}:{image.width}x{image.height}:".encode()
    digest = hashlib.sha256(head + image.tobytes())
    if alpha is not None:
        digest.update(b":alpha:" + alpha.tobytes())
    return digest.hexdigest()


def is_one_colour(image: Image.Image) -> bool:
    """Whether every pixel is the same."""
    extrema = image.getextrema()
    bands = (extrema,) if image.mode == "L" else extrema
    return all(low == high for low, high in bands)  # type: ignore[misc]  # pairs, by band, but Pillow's type says less


def _decode(data: bytes, kind: str, limits: Limits) -> Decoded:
    plain, exif = SEPARATE[kind](data, limits.parts) if kind in SEPARATE else Separated(data, b"")
    _check_pixels(*webp_size(plain), limits)  # libwebp takes the memory as soon as it opens a file
    with DECODERS[kind](io.BytesIO(plain)) as opened:
        _check_pixels(*_scaled(opened, limits), limits)
        opened.load()
        alpha = alpha_of(opened, plain)
        opened.info.pop("transparency", None)  # Pillow would warn that a conversion loses it
        image = _grey_or_colour(opened)
        turn = TURNS.get(orientation(exif or opened.info.get("exif") or b""))
    if alpha is not None:
        put_on_white(image, alpha)
    if turn is not None:
        return Decoded(image.transpose(turn), None if alpha is None else alpha.transpose(turn))
    return Decoded(image, alpha)


def _scaled(opened: ImageFile, limits: Limits) -> tuple[int, int]:
    """The width and height that the decoder will hold, after a JPEG was asked for at a fraction of its size where that is enough."""
    whole = opened.size
    if limits.side and isinstance(opened, JpegImageFile) and opened.width * opened.height <= MAX_PIXELS:
        opened.draft(None, (limits.side, limits.side))
    # All scans of a progressive JPEG are collected before any of it is scaled.
    return whole if "progressive" in opened.info else opened.size


def _check_pixels(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.pixels:
        allowed = f"more than the {limits.pixels:,} allowed ({limits.setting})"
        raise InputError(f"the image has {width * height:,} pixels, {allowed}")


def _grey_or_colour(image: Image.Image) -> Image.Image:
    """The image in mode `L` or `RGB`, without its transparency."""
    if image.mode == "I;16":  # the high byte; Pillow's own conversion cuts off all that is brighter than 255
        return Image.fromarray((np.asarray(image).astype(np.uint16, copy=False) >> 8).astype(np.uint8))
    mode = "L" if image.mode in GREY_MODES else "RGB"
    return image if image.mode == mode else image.convert(mode)
