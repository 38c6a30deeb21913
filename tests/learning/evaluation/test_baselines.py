from __future__ import annotations

import numpy as np
import pytest

from recsim_tasks.learning.evaluation.baselines import fit_pca, raw_pixels


def test_pixels_are_the_image_itself() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1), np.uint8)
    assert np.array_equal(raw_pixels(images) * 255, images.reshape(3, -1).astype(np.float32))


@pytest.mark.parametrize("channels", [1, 3])
def test_large_images_are_made_smaller(channels: int) -> None:
    images = np.full((2, 64, 64, channels), 51, np.uint8)
    assert raw_pixels(images).shape == (2, 28 * 28 * channels)
    assert np.allclose(raw_pixels(images), 0.2)


def test_pca_keeps_what_varies_most() -> None:
    rng = np.random.default_rng(0)
    main, other = rng.normal(size=(500, 1)) * 9, rng.normal(size=(500, 1))
    vectors = np.hstack([main, other, np.ones((500, 1))]).astype(np.float32)
    projected = fit_pca(vectors, 1)(vectors)
    assert projected.shape == (500, 1)
    assert abs(np.corrcoef(projected[:, 0], main[:, 0])[0, 1]) > 0.99
    assert abs(projected.mean()) < 0.01


def test_pca_of_few_vectors_has_fewer_components() -> None:
    vectors = np.random.default_rng(0).normal(size=(3, 50)).astype(np.float32)
    assert fit_pca(vectors, 8)(vectors).shape == (3, 3)
