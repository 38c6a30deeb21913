from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from recsim_tasks.learning.data.near_duplicates import grey_signature, has_near_duplicate

if TYPE_CHECKING:
    from collections.abc import Callable

    from recsim_demo.fashion_mnist import FashionMnist
    from recsim_tasks.arrays import Float32Array, UInt8Array


def recompressed(image: UInt8Array) -> UInt8Array:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=75)
    return np.asarray(Image.open(buffer).convert("L"))


def resized(image: UInt8Array) -> UInt8Array:
    return np.asarray(
        Image.fromarray(image)
        .resize((56, 56), Image.Resampling.BICUBIC)
        .resize((28, 28), Image.Resampling.BICUBIC)
    )


def signatures(images: UInt8Array) -> Float32Array:
    return np.stack([grey_signature(image[..., None]) for image in images])


@pytest.mark.parametrize("change", [recompressed, resized])
def test_a_recompressed_or_resized_copy_is_a_near_duplicate(
    change: Callable[[UInt8Array], UInt8Array], fashion_mnist: FashionMnist
) -> None:
    images = fashion_mnist.train_images[:500]
    near = has_near_duplicate(signatures(np.stack([change(image) for image in images])), signatures(images))
    assert near.mean() > 0.98


def test_other_images_of_the_same_kind_are_no_near_duplicates(fashion_mnist: FashionMnist) -> None:
    near = has_near_duplicate(
        signatures(fashion_mnist.train_images[:3_000]), signatures(fashion_mnist.test_images[:2_000])
    )
    assert near.mean() < 0.002


def test_a_colour_image_and_its_grey_copy_are_near_duplicates() -> None:
    colour = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    grey = np.asarray(Image.fromarray(colour).convert("L"))[..., None]
    assert has_near_duplicate(grey_signature(colour)[None], grey_signature(grey)[None]).all()


def test_empty_sets_have_no_near_duplicates() -> None:
    one, none = np.zeros((1, 64), np.float32), np.zeros((0, 64), np.float32)
    assert has_near_duplicate(one, none).tolist() == [False]
    assert has_near_duplicate(none, one).tolist() == []
