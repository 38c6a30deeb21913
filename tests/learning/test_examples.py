from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from recsim_tasks.catalogue.cursor import Cursor
from recsim_tasks.foundation.errors import InputError, UnavailableError
from recsim_tasks.learning.examples import survey
from recsim_tasks.learning.fitting import load_shard
from recsim_tasks.learning.job import Job
from recsim_tasks.learning.parameters import Parameters
from recsim_tasks.learning.split import split_of
from recsim_tasks.learning.training import plan_job

if TYPE_CHECKING:
    from pathlib import Path

    from learning.conftest import Catalogue


@pytest.fixture
def job(catalogue: Catalogue, tmp_path: Path) -> Job:
    return plan_job(catalogue.settings(tmp_path), catalogue.cursor, Parameters(), 6_000, 64, 2)


def test_the_ranks_shards_are_disjoint_and_together_all_labelled_training_images(catalogue: Catalogue, job: Job) -> None:
    shards = [load_shard(job, "train", rank, 3) for rank in range(3)]
    ids = [product_id for shard in shards for product_id in shard.product_ids]
    rows = catalogue.table.select(["product_id", "category", "image_hash"]).to_pylist()
    assert len(ids) == len(set(ids))
    assert set(ids) == {row["product_id"] for row in rows if row["category"] and split_of(row["image_hash"]) == "train"}


def test_each_image_comes_with_its_own_pixels_and_category(catalogue: Catalogue, job: Job) -> None:
    shard = load_shard(job, "validation", 0, 1)
    rows = {row["product_id"]: row for row in catalogue.table.to_pylist()}
    for image, label, product_id in zip(shard.images, shard.labels, shard.product_ids, strict=True):
        assert job.categories[label] == rows[product_id]["category"]
        assert np.array_equal(image[..., 0], np.asarray(Image.open(io.BytesIO(rows[product_id]["image"]))))


def test_no_test_image_is_ever_loaded_to_train_or_validate(catalogue: Catalogue, job: Job) -> None:
    test = {row["product_id"] for row in catalogue.table.to_pylist() if split_of(row["image_hash"]) == "test"}
    assert test
    for split in ("train", "validation"):
        assert not test & set(load_shard(job, split, 0, 1).product_ids)  # type: ignore[arg-type]


def test_a_share_of_the_images_is_the_same_share_each_time(job: Job) -> None:
    some = replace(job, train_share=0.2)
    first, again = (load_shard(some, "train", 0, 1).product_ids for _ in range(2))
    assert first == again
    assert 0.1 < len(first) / len(load_shard(job, "train", 0, 1)) < 0.3


def test_a_catalogue_without_two_categories_is_refused(tmp_path: Path, catalogue: Catalogue) -> None:
    from deltalake import DeltaTable, write_deltalake

    uri = str(tmp_path / "products")
    write_deltalake(uri, catalogue.table.slice(0, 100))
    cursor = Cursor(str(DeltaTable(uri).metadata().id), 0)
    with pytest.raises(InputError, match=r"has 0 categories with at least two training images.*Deliver products with a category"):
        survey(uri, cursor)


def test_another_table_than_the_planned_one_is_refused(catalogue: Catalogue) -> None:
    with pytest.raises(UnavailableError, match="created anew"):
        survey(catalogue.uri, Cursor("another", 0))
