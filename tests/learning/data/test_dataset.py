from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from PIL import Image

from learning.conftest import UNLABELLED, png
from recsim_tasks.catalogue.delta.reader import head
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import InputError, MissingError
from recsim_tasks.learning.data.dataset import labelled, load, select, survey
from recsim_tasks.learning.data.splits import split_of
from recsim_tasks.learning.hyperparameters import Parameters
from recsim_tasks.learning.preprocessing import Preprocessing
from recsim_tasks.learning.training.distributed import Alone
from recsim_tasks.learning.training.loop import load_shards
from recsim_tasks.learning.training.planning import plan_job

if TYPE_CHECKING:
    from pathlib import Path

    from learning.conftest import Catalogue
    from recsim_tasks.learning.spec import Job

GREY = Preprocessing(28, 1)


@pytest.fixture
def job(catalogue: Catalogue, tmp_path: Path) -> Job:
    return plan_job(catalogue.settings(tmp_path), catalogue.cursor, Parameters(), 6_000, 64, 1, 2)


def written(folder: Path, table: pa.Table) -> tuple[str, Cursor]:
    uri = str(folder / "products")
    write_deltalake(uri, table)
    cursor = head(uri)
    assert cursor is not None
    return uri, cursor


def with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, values)


def test_the_ranks_shards_are_disjoint_and_together_all_labelled_training_images(
    catalogue: Catalogue, job: Job
) -> None:
    known = labelled(catalogue.uri, catalogue.cursor)
    shards = [
        select(known, job.categories, "train", 1.0, job.seed, rank, 3)[0].to_pylist() for rank in range(3)
    ]
    hashes = [image_hash for shard in shards for image_hash in shard]
    rows = catalogue.table.select(["category", "image_hash"]).to_pylist()
    assert len(hashes) == len(set(hashes))
    assert set(hashes) == {
        row["image_hash"] for row in rows if row["category"] and split_of(row["image_hash"]) == "train"
    }


def test_each_image_comes_with_its_own_pixels_and_category(catalogue: Catalogue, job: Job) -> None:
    hashes, labels = select(labelled(catalogue.uri, catalogue.cursor), job.categories, "validation")
    examples = load(catalogue.uri, catalogue.cursor, GREY, hashes, labels)
    rows = {row["image_hash"]: row for row in catalogue.table.to_pylist()}
    for image, label, image_hash in zip(
        examples.read(np.arange(len(examples))), examples.labels, hashes.to_pylist(), strict=True
    ):
        assert job.categories[label] == rows[image_hash]["category"]
        assert np.array_equal(image[..., 0], np.asarray(Image.open(io.BytesIO(rows[image_hash]["image"]))))
    assert np.array_equal(examples.in_memory().read(np.array([3, 0])), examples.read(np.array([3, 0])))


def test_an_image_that_does_not_decode_is_left_out_of_training_and_that_is_said(
    catalogue: Catalogue, job: Job, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hashes, labels = select(labelled(catalogue.uri, catalogue.cursor), job.categories, "validation")
    broken = {hashes[2].as_py(): b"<html>", hashes[5].as_py(): None}
    images = [
        broken.get(row["image_hash"], row["image"])
        for row in catalogue.table.select(["image", "image_hash"]).to_pylist()
    ]
    uri, cursor = written(tmp_path, with_column(catalogue.table, "image", pa.array(images)))
    whole, examples = (
        load(catalogue.uri, catalogue.cursor, GREY, hashes, labels),
        load(uri, cursor, GREY, hashes, labels),
    )
    kept = np.delete(np.arange(len(whole)), [2, 5])
    assert np.array_equal(examples.read(np.arange(len(examples))), whole.read(kept))
    assert np.array_equal(examples.labels, whole.labels[kept])
    assert np.array_equal(examples.thumbnails, whole.thumbnails[kept])
    assert "it is HTML" in capfd.readouterr().err


def test_a_rank_never_trains_or_validates_on_a_test_image(catalogue: Catalogue, job: Job) -> None:
    pixels = {
        row["image_hash"]: np.asarray(Image.open(io.BytesIO(row["image"]))).tobytes()
        for row in catalogue.table.to_pylist()
    }
    test = {value for image_hash, value in pixels.items() if split_of(image_hash) == "test"}
    shards = load_shards(job, Alone())
    assert test
    for examples in (shards.train, shards.validation):
        assert not test & {image.tobytes() for image in examples.read(np.arange(len(examples)))}


def test_a_share_of_the_images_is_the_same_share_each_time(catalogue: Catalogue, job: Job) -> None:
    known = labelled(catalogue.uri, catalogue.cursor)
    first, again = (select(known, job.categories, "train", 0.2, job.seed)[0].to_pylist() for _ in range(2))
    assert first == again
    assert 0.1 < len(first) / len(select(known, job.categories, "train")[0]) < 0.3


def test_a_recompressed_test_image_is_left_out_of_training_and_that_is_said(
    catalogue: Catalogue, job: Job, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    test = [
        row
        for row in catalogue.table.to_pylist()
        if row["category"] and split_of(row["image_hash"]) == "test"
    ]
    copies = pa.Table.from_pylist([recompressed(row) for row in test], catalogue.table.schema)
    assert {split_of(image_hash) for image_hash in copies["image_hash"].to_pylist()} == {"train"}
    uri, cursor = written(tmp_path, pa.concat_tables([catalogue.table, copies]))
    before, after = (
        len(load_shards(which, Alone()).train) for which in (job, replace(job, products=uri, cursor=cursor))
    )
    assert after - before < 0.05 * len(copies)
    said = capfd.readouterr().err
    assert "Left out of training, as nearly the same as a validation or test image:" in said
    assert int(said.split(":")[-1].split()[0]) > 0.95 * len(copies)


def recompressed(row: dict[str, Any]) -> dict[str, Any]:
    """The same picture as a product of its own, with a hash that falls among the training images."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(row["image"])).save(buffer, "JPEG", quality=80)
    image_hash = "f" + hashlib.sha256(buffer.getvalue()).hexdigest()[1:]
    return {
        **row,
        "product_id": f"copy of {row['product_id']}",
        "image": buffer.getvalue(),
        "image_hash": image_hash,
    }


def test_a_picture_of_several_products_is_one_example_under_one_category(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    twice = with_column(catalogue.table, "category", pa.array(["zebra"] * len(catalogue.table)))
    twice = with_column(twice, "product_id", pa.array([f"again {n}" for n in range(len(twice))]))
    uri, cursor = written(tmp_path, pa.concat_tables([catalogue.table, twice]))
    known = labelled(uri, cursor)
    assert known.hashes.to_pylist() == sorted(set(catalogue.table["image_hash"].to_pylist()))
    assert list(known.categories).count("zebra") == UNLABELLED
    hashes, labels = select(known, survey(uri, cursor, known).categories, "train")
    assert len(load(uri, cursor, GREY, hashes, labels)) == len(hashes)


def test_images_of_any_size_and_colour_come_in_the_networks_shape(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    pictures = [
        Image.new("RGB", (10 + n, 40), (n, 5, 9)) if n % 2 else Image.new("L", (90, 20 + n), n)
        for n in range(8)
    ]
    table = with_column(
        catalogue.table.slice(UNLABELLED, 8),
        "image",
        pa.array([png(picture) for picture in pictures], pa.binary()),
    )
    uri, cursor = written(tmp_path, table)
    known = labelled(uri, cursor)
    examples = load(uri, cursor, Preprocessing(32, 3), known.hashes, np.zeros(len(known.hashes), np.int64))
    assert examples.read(np.arange(8)).shape == (8, 32, 32, 3)


def test_deleted_and_replaced_pictures_are_not_trained_on(tmp_path: Path, catalogue: Catalogue) -> None:
    uri, _ = written(tmp_path, catalogue.table)
    gone = catalogue.table["image_hash"].to_pylist()[UNLABELLED + 1]
    DeltaTable(uri).delete(f"image_hash = '{gone}'")
    cursor = head(uri)
    assert cursor is not None
    assert gone not in labelled(uri, cursor).hashes.to_pylist()


def test_a_category_with_too_few_images_is_left_out_and_named(
    tmp_path: Path, catalogue: Catalogue, capfd: pytest.CaptureFixture[str]
) -> None:
    categories = catalogue.table["category"].to_pylist()
    train = [
        n
        for n, row in enumerate(catalogue.table.to_pylist())
        if row["category"] and split_of(row["image_hash"]) == "train"
    ]
    for row in train[:3]:
        categories[row] = "rare"
    uri, cursor = written(tmp_path, with_column(catalogue.table, "category", pa.array(categories)))
    job = plan_job(catalogue.settings(tmp_path, products=uri), cursor, Parameters(), 6_000, 64, 1, 2)
    assert "rare" not in job.categories
    assert len(job.categories) == 10
    assert "Left out of training, for too few training images: 'rare' (3)." in capfd.readouterr().err


@pytest.mark.parametrize(
    ("categories", "said"),
    [
        (
            lambda n: None,
            r"has 0 categories with at least 4 different training images.*Deliver products with a category",
        ),
        (lambda n: "shoe", r"has 1 categories with at least 4"),
        (lambda n: f"category {n}", r"has 0 categories with at least 4"),
    ],
    ids=["none", "one", "one each"],
)
def test_a_catalogue_without_two_categories_is_refused(
    tmp_path: Path, catalogue: Catalogue, categories: object, said: str
) -> None:
    names = pa.array([categories(n) for n in range(len(catalogue.table))], pa.string())  # type: ignore[operator]
    uri, cursor = written(tmp_path, with_column(catalogue.table, "category", names))
    with pytest.raises(InputError, match=said):
        plan_job(catalogue.settings(tmp_path, products=uri), cursor, Parameters(), 6_000, 64, 1, 2)


def test_one_picture_under_many_products_is_too_little_to_learn_from(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    same = pa.array([catalogue.table["image_hash"][500].as_py()] * len(catalogue.table))
    uri, cursor = written(tmp_path, with_column(catalogue.table, "image_hash", same))
    with pytest.raises(InputError, match="different training images"):
        survey(uri, cursor)


def test_fewer_images_than_a_step_takes_are_refused(tmp_path: Path, catalogue: Catalogue) -> None:
    uri, cursor = written(tmp_path, catalogue.table.slice(UNLABELLED, 130))
    with pytest.raises(
        InputError,
        match=r"training images are fewer than the 128 of one step \(64 on each of 2 ranks, RECSIM_RANKS\)",
    ):
        plan_job(catalogue.settings(tmp_path, products=uri), cursor, Parameters(), 6_000, 64, 2, 2)


def test_another_table_than_the_planned_one_is_refused(catalogue: Catalogue) -> None:
    with pytest.raises(MissingError, match="created anew"):
        survey(catalogue.uri, Cursor("another", 0))
