from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from recsim_demo.fashion_mnist import FashionMnist
from recsim_tasks.vectors.thumbnails import (
    LARGEST_DIFFERENCE,
    MEAN_DIFFERENCE,
    SIDE,
    THUMBNAIL_BYTES,
    distinct_mask,
    thumbnail,
)

Colour = tuple[int, int, int]


def shirt(colour: Colour, size: int = 400, printed: bool = False) -> Image.Image:
    image = Image.new("RGB", (size, size * 5 // 4), "white")
    draw, part = ImageDraw.Draw(image), size // 10
    draw.polygon(
        [
            (part * x, part * y)
            for x, y in ((3, 1), (7, 1), (10, 3), (9, 5), (8, 4), (8, 12), (2, 12), (2, 4), (1, 5), (0, 3))
        ],
        colour,
    )
    if printed:
        draw.rectangle((part * 4, part * 4, part * 6, part * 6), "black")
    return image


def stored(image: Image.Image, kind: str, **how: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, kind, **how)
    return Image.open(io.BytesIO(file.getvalue())).convert(image.mode)


def are_copies(one: Image.Image, other: Image.Image) -> bool:
    both = np.frombuffer(thumbnail(one) + thumbnail(other), np.uint8).reshape(2, THUMBNAIL_BYTES)
    first, second = distinct_mask(both, 2)
    return bool(first and not second)


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as JPEG of quality 75": lambda image: stored(image, "JPEG", quality=75),
    "as JPEG of quality 30": lambda image: stored(image, "JPEG", quality=30),
    "as PNG": lambda image: stored(image, "PNG"),
    "as WebP": lambda image: stored(image, "WEBP", quality=80),
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "half the size as JPEG": lambda image: stored(
        image.resize((image.width // 2, image.height // 2)), "JPEG", quality=75
    ),
    "a third of the size": lambda image: image.resize(
        (image.width // 3, image.height // 3), Image.Resampling.BILINEAR
    ),
    "twice the size": lambda image: image.resize((image.width * 2, image.height * 2)),
    "in another mode": lambda image: image.convert("RGB"),
}


@pytest.mark.parametrize("how", COPIES)
def test_a_recompressed_or_resized_image_is_a_copy(how: str) -> None:
    for image in (
        shirt((200, 30, 40)),
        shirt((90, 90, 90), 333, printed=True).convert("L"),
        shirt((20, 40, 160), 1999),
    ):
        assert are_copies(image, COPIES[how](image))


def test_another_colour_another_print_and_a_mirrored_image_are_no_copies() -> None:
    red = shirt((200, 30, 40))
    for other in (
        shirt((30, 200, 40)),
        shirt((200, 60, 40)),
        shirt((170, 30, 40)),
        shirt((200, 30, 40), printed=True),
    ):
        assert not are_copies(red, other)
    printed = shirt((200, 30, 40), printed=True)
    printed.paste("black", (200, 160, 280, 240))
    assert not are_copies(printed, printed.transpose(Image.Transpose.FLIP_LEFT_RIGHT))


def test_copies_of_real_images_of_28_pixels_are_found_and_different_products_are_not(
    fashion_mnist: FashionMnist,
) -> None:
    """The shares that docs/vectors.md states for all images, on a part of them."""
    images = [Image.fromarray(pixels) for pixels in fashion_mnist.test_images[:1_500]]
    for how in (
        "as JPEG of quality 75",
        "as JPEG of quality 30",
        "as WebP",
        "half the size",
        "twice the size",
    ):
        assert np.mean([are_copies(image, COPIES[how](image)) for image in images[:300]]) >= 0.99, how
    thumbnails = np.frombuffer(b"".join(map(thumbnail, images)), np.uint8).reshape(
        len(images), THUMBNAIL_BYTES
    )
    assert (~distinct_mask(thumbnails, len(images))).sum() <= 2


def test_a_large_image_has_the_thumbnail_of_the_lanczos_filter_alone() -> None:
    """A large image is reduced by whole pixels first."""
    for image in (shirt((200, 30, 40), 1_999), shirt((20, 40, 160), 3_000, printed=True)):
        filtered = image.resize((SIDE, SIDE), Image.Resampling.LANCZOS).tobytes()
        both = [np.frombuffer(values, np.uint8).astype(int) for values in (thumbnail(image), filtered)]
        assert np.abs(both[0] - both[1]).max() <= 3


def test_a_copy_of_a_dropped_image_is_kept_unless_it_copies_a_kept_one() -> None:
    """Each is a copy of the next, but the third is no copy of the first."""
    chain = np.repeat(np.array([[10], [13], [16], [90]], np.uint8), THUMBNAIL_BYTES, axis=1)
    assert distinct_mask(chain, 10).tolist() == [True, False, True, True]
    assert distinct_mask(chain, 2).tolist() == [True, False, True, False]
    assert distinct_mask(chain[:0], 10).tolist() == []


def test_products_without_a_thumbnail_are_no_copies() -> None:
    assert distinct_mask(np.zeros((3, THUMBNAIL_BYTES), np.uint8), 3).all()
    assert distinct_mask(
        np.array([[0] * THUMBNAIL_BYTES, [1] * THUMBNAIL_BYTES, [2] * THUMBNAIL_BYTES], np.uint8), 3
    ).tolist() == [
        True,
        True,
        False,
    ]


@given(st.integers(0, 2**32), st.integers(1, 12))
def test_distinct_mask_equals_a_pairwise_comparison(seed: int, k: int) -> None:
    """Many of these thumbnails lie exactly at a limit."""
    rng = np.random.default_rng(seed)
    base = rng.integers(1, 240, THUMBNAIL_BYTES)
    shifts = rng.choice([0, 3, 4, 5, LARGEST_DIFFERENCE, LARGEST_DIFFERENCE + 1], (12, 1)) * (
        rng.random((12, THUMBNAIL_BYTES)) < rng.choice([0.02, 1], (12, 1))
    )
    thumbnails = (base + shifts).astype(np.uint8)
    kept: list[int] = []
    for row, look in enumerate(thumbnails.astype(int)):
        apart = [np.abs(look - thumbnails[other].astype(int)) for other in kept]
        copy = any(
            (d**2).sum() <= MEAN_DIFFERENCE**2 * THUMBNAIL_BYTES and d.max() <= LARGEST_DIFFERENCE
            for d in apart
        )
        kept += [] if copy or len(kept) == k else [row]
    assert np.flatnonzero(distinct_mask(thumbnails, k)).tolist() == kept
