from __future__ import annotations

import numpy as np

from recsim_tasks.learning.data.augmentation import augment


def test_augmentation_changes_a_copy_within_the_range_of_the_image() -> None:
    images = np.random.default_rng(0).integers(50, 200, (8, 28, 28, 3), np.uint8)
    before = images.copy()
    changed = augment(images, np.random.default_rng(1))
    assert np.array_equal(images, before)
    assert changed.shape == images.shape
    assert changed.dtype == np.uint8
    assert (changed != images).any(axis=(1, 2, 3)).all()
    assert changed.min() >= 50
    assert changed.max() < 200


def test_without_cutout_images_are_only_shifted_and_mirrored() -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28, 1), np.uint8)
    for changed, image in zip(augment(images, np.random.default_rng(1), cutout=False), images, strict=True):
        assert set(np.unique(changed)) <= set(np.unique(image))
