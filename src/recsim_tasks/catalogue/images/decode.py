"""Decode a product image safely, as a browser would, and identify it by its content.

This is the only module that decodes images from outside.
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
    MAX_PARTS,
    Separated,
    orientation,
    separate_jpeg,
    separate_png,
    webp_size,
)
from recsim_tasks.catalogue.images.transparency import alpha_of, put_on_white
from recsim_tasks.catalogue.row_errors import reason_of
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.limits import MAX_IMAGE_PIXELS

# The first bytes choose the decoder: Pillow's other decoders never see data from outside.
Decoder = Callable[[io.BytesIO], ImageFile]
DECODERS: dict[str, Decoder] = {"JPEG": JpegImageFile, "PNG": PngImageFile, "WEBP": WebPImageFile}
SEPARATE: dict[str, Callable[[bytes, int], Separated]] = {"JPEG": separate_jpeg, "PNG": separate_png}
TRANSPOSE_BY_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
JPEG_QUALITY = 85
# Encoders write a chunk for every 4 or 8 KB, and the API accepts 16 MB.
MAX_QUERY_PARTS = 10_000
# Pillow enforces its limit by warning filters, which threads share; `read_image` checks its own on the
# header.
Image.MAX_IMAGE_PIXELS = None
GREY_MODES = {"1", "L", "LA", "I;16"}


class Limits(NamedTuple):
    """Upper bounds on the work of decoding an image."""

    pixels: int
    """Pixels that the decoder may keep in memory."""
    setting: str = "RECSIM_IMAGE_MAX_PIXELS"
    """The setting that defines this limit, for the error."""
    parts: int = MAX_PARTS
    """Segments or chunks of the file."""
    side: int | None = None
    """Decode a JPEG at 1/2, 1/4 or 1/8 size while both sides keep this many pixels; None: at full size."""


class Decoded(NamedTuple):
    """An upright image on white, mode `L` or `RGB`, and its opacity, mode `L` (None: fully opaque)."""

    image: Image.Image
    alpha: Image.Image | None

    @property
    def digest(self) -> str:
        """SHA-256 of the content; see `image_hash`."""
        return image_hash(*self)

    @property
    def placeholder(self) -> str | None:
        """Why this is a placeholder for a missing image; None if it shows something."""
        if self.alpha is not None and self.alpha.getextrema() == (0, 0):
            return "it is fully transparent"
        if is_single_colour(self.image):
            return "all pixels have one colour" + (" on white" if self.alpha is not None else "")
        return None


def read_image(data: bytes, limits: Limits) -> Decoded:
    """Decode JPEG, PNG or WebP bytes, of several frames the first; `InputError` has the reason if that fails.

    The limits are checked on the header, before memory is allocated for pixels.
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
    """Decode an image of the catalogue like `read_image`, to mode `L` or `RGB`, upright and on white."""
    return read_image(data, Limits(max_pixels)).image


def open_query(data: bytes, max_pixels: int, side: int) -> Image.Image:
    """Decode a query image like `open_image`, but a large JPEG only to at least `side` pixels a side."""
    return read_image(data, Limits(max_pixels, "RECSIM_SERVING_MAX_PIXELS", MAX_QUERY_PARTS, side)).image


def is_readable(data: bytes | None) -> bool:
    """Return whether `data` is an image that decodes."""
    try:
        read_image(data or b"", Limits(MAX_IMAGE_PIXELS))
    except InputError:
        return False
    return True


def small_jpeg(data: bytes, side: int) -> bytes:
    """Scale an encoded image down to a JPEG of at most `side` x `side` pixels."""
    image = read_image(data, Limits(MAX_IMAGE_PIXELS, side=side)).image.convert("RGB")
    image.thumbnail((side, side))
    small = io.BytesIO()
    image.save(small, "JPEG", quality=JPEG_QUALITY)
    return small.getvalue()


def image_hash(image: Image.Image, alpha: Image.Image | None = None) -> str:
    """SHA-256 of mode, size, pixels on white and opacity; lossless re-encoding does not change it."""
    head = f"{image.mode}:{image.width}x{image.height}:".encode()
    digest = hashlib.sha256(head + image.tobytes())
    if alpha is not None:
        digest.update(b":alpha:" + alpha.tobytes())
    return digest.hexdigest()


def is_single_colour(image: Image.Image) -> bool:
    """Return whether all pixels are equal."""
    extrema = image.getextrema()
    bands = (extrema,) if image.mode == "L" else extrema
    return all(low == high for low, high in bands)  # type: ignore[misc]  # pairs by band; Pillow's type is wider


def _decode(data: bytes, kind: str, limits: Limits) -> Decoded:
    plain, exif = SEPARATE[kind](data, limits.parts) if kind in SEPARATE else Separated(data, b"")
    _check_pixels(*webp_size(plain), limits)  # libwebp allocates the memory when it opens a file
    with DECODERS[kind](io.BytesIO(plain)) as opened:
        _check_pixels(*_scaled(opened, limits), limits)
        opened.load()
        alpha = alpha_of(opened, plain)
        opened.info.pop("transparency", None)  # Pillow would warn that a conversion drops it
        image = _grey_or_colour(opened)
        transpose = TRANSPOSE_BY_ORIENTATION.get(orientation(exif or opened.info.get("exif") or b""))
    if alpha is not None:
        put_on_white(image, alpha)
    if transpose is not None:
        return Decoded(image.transpose(transpose), None if alpha is None else alpha.transpose(transpose))
    return Decoded(image, alpha)


def _scaled(opened: ImageFile, limits: Limits) -> tuple[int, int]:
    """Return the size that the decoder will keep in memory; selects a fraction of it for a large JPEG."""
    whole = opened.size
    if limits.side and isinstance(opened, JpegImageFile) and opened.width * opened.height <= MAX_IMAGE_PIXELS:
        opened.draft(None, (limits.side, limits.side))
    # libjpeg collects all scans of a progressive JPEG before it scales.
    return whole if "progressive" in opened.info else opened.size


def _check_pixels(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.pixels:
        allowed = f"more than the {limits.pixels:,} allowed ({limits.setting})"
        raise InputError(f"the image has {width * height:,} pixels, {allowed}")


def _grey_or_colour(image: Image.Image) -> Image.Image:
    """Return the image in mode `L` or `RGB`, without its transparency."""
    if image.mode == "I;16":  # the high byte; Pillow's own conversion clips at 255
        return Image.fromarray((np.asarray(image).astype(np.uint16, copy=False) >> 8).astype(np.uint8))
    mode = "L" if image.mode in GREY_MODES else "RGB"
    return image if image.mode == mode else image.convert(mode)
