from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from recsim_tasks.foundation.errors import RecsimError
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.vectors.embeddings import (
    delete_unused_embeddings,
    read_embeddings,
    unembeddable_hashes,
    without_embedding,
)
from recsim_tasks.vectors.thumbnails import THUMBNAIL_BYTES

HASHES = ["a", "b", "c"]


def write(settings: Settings, model: str, vectors: list[list[float] | None]) -> None:
    columns = {
        "model_fingerprint": [model] * len(vectors),
        "image_hash": HASHES[: len(vectors)],
        "embedding": pa.array(vectors, pa.list_(pa.float32())),
        "thumbnail": pa.array([bytes([n + 1]) * THUMBNAIL_BYTES for n in range(len(vectors))], pa.binary()),
    }
    write_deltalake(
        settings.embeddings_uri, pa.table(columns), mode="append", partition_by=["model_fingerprint"]
    )


def test_embeddings_are_read_in_the_order_of_the_hashes(settings: Settings) -> None:
    write(settings, "m", [[1.0, 0.0], None, [0.0, 1.0]])
    found = read_embeddings(settings.embeddings_uri, "m", pa.chunked_array([["c", "a", "c", "b"]]))
    assert found.vectors.tolist() == [[0, 1], [1, 0], [0, 1], [0, 0]]
    assert found.valid.tolist() == [True, True, True, False]
    assert found.thumbnails[:, 0].tolist() == [3, 1, 3, 2]
    with pytest.raises(RecsimError, match="1 of 2 images are not embedded by encoder m yet"):
        read_embeddings(settings.embeddings_uri, "m", pa.chunked_array([["a", "x"]]))


def test_each_encoder_has_its_own_embeddings(settings: Settings) -> None:
    images = pa.array([*HASHES, "d"])
    assert without_embedding(settings.embeddings_uri, "m", images).to_pylist() == [*HASHES, "d"]
    write(settings, "m", [[1.0], None, [1.0]])
    assert without_embedding(settings.embeddings_uri, "m", images).to_pylist() == ["d"]
    assert without_embedding(settings.embeddings_uri, "other", images).to_pylist() == [*HASHES, "d"]
    assert without_embedding(settings.embeddings_uri, None, images) is images
    assert unembeddable_hashes(settings.embeddings_uri, "m").to_pylist() == ["b"]
    assert len(unembeddable_hashes(settings.embeddings_uri, "other")) == 0


def test_embeddings_of_unused_encoders_are_deleted_after_the_retention(settings: Settings) -> None:
    assert delete_unused_embeddings(settings, set()) == 0
    for model in ("used", "unused"):
        write(settings, model, [[1.0]])
    assert delete_unused_embeddings(settings, {"used"}) == 0, "within the retention"
    ended = settings.model_copy(update={"retention_days": -1})
    assert delete_unused_embeddings(ended, {"used"}) == 1
    images = pa.array(["a"])
    assert len(without_embedding(settings.embeddings_uri, "used", images)) == 0
    assert len(without_embedding(settings.embeddings_uri, "unused", images)) == 1
    assert np.array_equal(
        read_embeddings(settings.embeddings_uri, "used", pa.chunked_array([["a"]])).vectors, [[1.0]]
    )
