from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from recsim_tasks.release.drift import FEWEST_IMAGES, drift
from recsim_tasks.vectors.index import Index


def index(old: int, new: int, towards: tuple[float, float] = (0.0, 1.0), model: str = "m") -> Index:
    """`old` products at (1, 0) and `new` ones at `towards`."""
    count = old + new
    columns = {name: [f"{name} {number}" for number in range(count)] for name in ("product_id", "title", "category", "image_hash")}
    table = pa.table({**columns, "price": [1.0] * count, "in_stock": [True] * count})
    vectors = np.array([(1.0, 0.0)] * old + [towards] * new, np.float32)
    return Index.build(table, vectors, {"model_fingerprint": model}, exact_below=10**6)


@pytest.mark.parametrize(("towards", "distance"), [((1.0, 0.0), 0.0), ((0.0, 1.0), 1.0), ((-1.0, 0.0), 2.0), ((0.6, 0.8), 0.4)])
def test_drift_is_the_cosine_distance_of_what_is_new_from_what_was_held(towards: tuple[float, float], distance: float) -> None:
    assert drift(index(300, FEWEST_IMAGES, towards), index(300, 0)) == pytest.approx(distance, abs=1e-6)


def test_few_new_images_tell_no_drift() -> None:
    assert drift(index(300, FEWEST_IMAGES - 1), index(300, 0)) is None
    assert drift(index(FEWEST_IMAGES - 1, 300), index(FEWEST_IMAGES - 1, 0)) is None


def test_the_vectors_of_two_models_are_not_compared() -> None:
    assert drift(index(300, 200, model="n"), index(300, 0)) is None
