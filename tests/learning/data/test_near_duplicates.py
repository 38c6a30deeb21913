from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from recsim_tasks.learning.data.near_duplicates import near_any, thumbnail

if TYPE_CHECKING:
    from collections.abc import Callable

    from recsim_demo.dataset import FashionMnist


def recompressed(image: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=75)
    return np.asarray(Image.open(buffer).convert("L"))


def resized(image: np.ndarray) -> np.ndarray:
    return np.asarray(
        Image.fromarray(image)
        .resize((56, 56), Image.Resampling.BICUBIC)
        .resize((28, 28), Image.Resampling.BICUBIC)
    )


def thumbnails(images: np.ndarray) -> np.ndarray:
    return np.stack([thumbnail(image[..., None]) for image in images])


@pytest.mark.parametrize("change", [recompressed, resized])
def test_a_picture_that_was_delivered_again_in_another_way_is_near(
    change: Callable[[np.ndarray], np.ndarray], fashion_mnist: FashionMnist
) -> None:
    images = fashion_mnist.train_images[:500]
    near = near_any(thumbnails(np.stack([change(image) for image in images])), thumbnails(images))
    assert near.mean() > 0.98


def test_other_pictures_of_the_same_kind_are_not_near(fashion_mnist: FashionMnist) -> None:
    near = near_any(
        thumbnails(fashion_mnist.train_images[:3_000]), thumbnails(fashion_mnist.test_images[:2_000])
    )
    assert near.mean() < 0.002


def test_a_colour_picture_and_its_grey_copy_are_near() -> None:
    colour = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    grey = np.asarray(Image.fromarray(colour).convert("L"))[..., None]
    assert near_any(thumbnail(colour)[None], thumbnail(grey)[None]).all()


def test_nothing_is_near_to_nothing() -> None:
    one, none = np.zeros((1, 64), np.float32), np.zeros((0, 64), np.float32)
    assert near_any(one, none).tolist() == [False]
    assert near_any(none, one).tolist() == []
