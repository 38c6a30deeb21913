"""What may go wrong with photographs: each distortion takes uint8 images [n, h, w] and returns as many."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image, ImageFilter

from recsim_tasks.arrays import UInt8Array

Distortion = Callable[[UInt8Array], UInt8Array]


def distortions() -> dict[str, Distortion]:
    """By name, from weak to strong."""
    return {
        **{
            f"blur, radius {radius:g} px": partial(_each, partial(_blur, radius=radius))
            for radius in (0.5, 0.75, 1, 1.5, 2)
        },
        **{
            f"noise, standard deviation {deviation}": partial(noise, deviation=deviation)
            for deviation in (5, 10, 20, 30, 40)
        },
        "inversion": invert,
        **{
            f"darkening to {factor:.0%}": partial(darken, factor=factor)
            for factor in (0.9, 0.7, 0.5, 0.3, 0.2)
        },
        **{
            f"JPEG, quality {quality}": partial(_each, partial(_jpeg, quality=quality))
            for quality in (75, 40, 15)
        },
        "half the resolution": partial(_each, _half_resolution),
        "turned by 15 degrees": partial(_each, lambda image: image.rotate(15, Image.Resampling.BILINEAR)),
    }


def noise(images: UInt8Array, deviation: float) -> UInt8Array:
    """Add Gaussian noise, always the same for the same number of images."""
    drawn = np.random.default_rng(0).normal(0, deviation, images.shape)
    return np.clip(images + drawn, 0, 255).astype(np.uint8)


def invert(images: UInt8Array) -> UInt8Array:
    """Swap black and white."""
    return np.asarray(255 - images, np.uint8)


def darken(images: UInt8Array, factor: float) -> UInt8Array:
    """Multiply the brightness by `factor`."""
    return (images * factor).astype(np.uint8)


def _each(change: Callable[[Image.Image], Image.Image], images: UInt8Array) -> UInt8Array:
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in images])


def _blur(image: Image.Image, radius: float) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(radius))


def _jpeg(image: Image.Image, quality: int) -> Image.Image:
    packed = io.BytesIO()
    image.save(packed, "JPEG", quality=quality)
    return Image.open(packed)


def _half_resolution(image: Image.Image) -> Image.Image:
    small = image.resize((image.width // 2, image.height // 2), Image.Resampling.BILINEAR)
    return small.resize(image.size, Image.Resampling.BILINEAR)
