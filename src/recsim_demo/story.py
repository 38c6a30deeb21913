"""The rows of the demo's feeds: Fashion-MNIST's training split, then a day's changes of its test split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsim_demo.fashion_mnist import CATEGORIES, FashionMnist
from recsim_demo.feeds import FeedRow, delete, upsert
from recsim_tasks.arrays import UInt8Array

NEW, REPLACED, REPRICED, DELETED = 1_000, 200, 300, 100


@dataclass(frozen=True)
class Story:
    """The rows of both feeds, and the test images that are in neither."""

    first: list[FeedRow]
    second: list[FeedRow]
    held_out: UInt8Array
    held_out_categories: list[str]


def make_story(data: FashionMnist, products: int = 60_000, scale: float = 1.0) -> Story:
    """The demo on the first `products` images; `scale` shrinks the day's changes."""
    new, replaced, repriced, deleted = (
        max(1, round(count * scale)) for count in (NEW, REPLACED, REPRICED, DELETED)
    )
    images, labels = data.train_images[:products], data.train_labels[:products]
    unseen = _unseen(data.test_images, images, new + replaced)
    second = [
        _row(products + n, data.test_images[t], data.test_labels[t]) for n, t in enumerate(unseen[:new])
    ]
    second += [_row(n, data.test_images[t], data.test_labels[t]) for n, t in enumerate(unseen[new:])]
    second += [_row(n, None, labels[n], price=5.0) for n in range(replaced, replaced + repriced)]
    second += [delete(n) for n in range(replaced + repriced, replaced + repriced + deleted)]
    rest = np.setdiff1d(np.arange(len(data.test_images)), unseen)
    return Story(
        first=[_row(n, image, label) for n, (image, label) in enumerate(zip(images, labels, strict=True))],
        second=second,
        held_out=data.test_images[rest],
        held_out_categories=[CATEGORIES[label] for label in data.test_labels[rest]],
    )


def _row(number: int, pixels: UInt8Array | None, label: int, price: float | None = None) -> FeedRow:
    return upsert(number, CATEGORIES[label], pixels, price)


def _unseen(candidates: UInt8Array, known: UInt8Array, count: int) -> list[int]:
    """Positions of the first `count` candidates that differ from each other and from every known image."""
    seen = {image.tobytes() for image in known}
    positions: list[int] = []
    for position, image in enumerate(candidates):
        if len(positions) < count and (content := image.tobytes()) not in seen:
            seen.add(content)
            positions.append(position)
    return positions
