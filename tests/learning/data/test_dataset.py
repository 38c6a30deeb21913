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
from recsim_tasks.learning.data.dataset import (
    Subset,
    load_images,
    read_labelled_images,
    select_split,
    summarize,
)
from recsim_tasks.learning.data.splits import split_of
from recsim_tasks.learning.hyperparameters import Hyperparameters
from recsim_tasks.learning.preprocessing import Preprocessing
from recsim_tasks.learning.training.communicator import SingleProcess
from recsim_tasks.learning.training.planning import Budget, plan_training
from recsim_tasks.learning.training.training_data import load_training_data

if TYPE_CHECKING:
    from pathlib import Path

    from learning.conftest import Catalogue
    from recsim_tasks.learning.spec import TrainingSpec

GREY = Preprocessing(28, 1)


@pytest.fixture
def spec(catalogue: Catalogue, tmp_path: Path) -> TrainingSpec:
    return plan_training(
        catalogue.settings(tmp_path), catalogue.cursor, Hyperparameters(), Budget(6_000, 64, 1, 2)
    )


def written(folder: Path, table: pa.Table) -> tuple[str, Cursor]:
    uri = str(folder / "products")
    write_deltalake(uri, table)
    cursor = head(uri)
    assert cursor is not None
    return uri, cursor


def with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, values)


def test_shards_of_ranks_are_disjoint_and_cover_all_labelled_training_images(
    catalogue: Catalogue, spec: TrainingSpec
) -> None:
    labelled = read_labelled_images(catalogue.uri, catalogue.cursor)
    shards = [
        select_split(labelled, spec.categories, Subset("train", 1.0, spec.seed, rank, 3))[0].to_pylist()
        for rank in range(3)
    ]
    hashes = [image_hash for shard in shards for image_hash in shard]
    rows = catalogue.table.select(["category", "image_hash"]).to_pylist()
    assert len(hashes) == len(set(hashes))
    assert set(hashes) == {
        row["image_hash"] for row in rows if row["category"] and split_of(row["image_hash"]) == "train"
    }


def test_each_image_comes_with_its_own_pixels_and_category(catalogue: Catalogue, spec: TrainingSpec) -> None:
    hashes, labels = select_split(
        read_labelled_images(catalogue.uri, catalogue.cursor), spec.categories, Subset("validation")
    )
    dataset = load_images(catalogue.uri, catalogue.cursor, GREY, hashes, labels)
    rows = {row["image_hash"]: row for row in catalogue.table.to_pylist()}
    for image, label, image_hash in zip(
        dataset.read(np.arange(len(dataset))), dataset.labels, hashes.to_pylist(), strict=True
    ):
        assert spec.categories[label] == rows[image_hash]["category"]
        assert np.array_equal(image[..., 0], np.asarray(Image.open(io.BytesIO(rows[image_hash]["image"]))))
    assert np.array_equal(dataset.in_memory().read(np.array([3, 0])), dataset.read(np.array([3, 0])))


def test_an_image_that_does_not_decode_is_left_out_with_a_warning(
    catalogue: Catalogue, spec: TrainingSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hashes, labels = select_split(
        read_labelled_images(catalogue.uri, catalogue.cursor), spec.categories, Subset("validation")
    )
    broken = {hashes[2].as_py(): b"<html>", hashes[5].as_py(): None}
    images = [
        broken.get(row["image_hash"], row["image"])
        for row in catalogue.table.select(["image", "image_hash"]).to_pylist()
    ]
    uri, cursor = written(tmp_path, with_column(catalogue.table, "image", pa.array(images)))
    whole, dataset = (
        load_images(catalogue.uri, catalogue.cursor, GREY, hashes, labels),
        load_images(uri, cursor, GREY, hashes, labels),
    )
    kept = np.delete(np.arange(len(whole)), [2, 5])
    assert np.array_equal(dataset.read(np.arange(len(dataset))), whole.read(kept))
    assert np.array_equal(dataset.labels, whole.labels[kept])
    assert np.array_equal(dataset.signatures, whole.signatures[kept])
    assert "it is HTML" in caplog.text


def test_a_rank_never_trains_or_validates_on_a_test_image(catalogue: Catalogue, spec: TrainingSpec) -> None:
    pixels = {
        row["image_hash"]: np.asarray(Image.open(io.BytesIO(row["image"]))).tobytes()
        for row in catalogue.table.to_pylist()
    }
    test = {value for image_hash, value in pixels.items() if split_of(image_hash) == "test"}
    training_data = load_training_data(spec, SingleProcess())
    assert test
    for dataset in (training_data.train, training_data.validation):
        assert not test & {image.tobytes() for image in dataset.read(np.arange(len(dataset)))}


def test_a_share_of_the_images_is_the_same_share_each_time(catalogue: Catalogue, spec: TrainingSpec) -> None:
    labelled = read_labelled_images(catalogue.uri, catalogue.cursor)
    first, again = (
        select_split(labelled, spec.categories, Subset("train", 0.2, spec.seed))[0].to_pylist()
        for _ in range(2)
    )
    assert first == again
    assert 0.1 < len(first) / len(select_split(labelled, spec.categories, Subset("train"))[0]) < 0.3


def test_a_recompressed_test_image_is_left_out_of_training(
    catalogue: Catalogue, spec: TrainingSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "recsim_tasks")
    test = [
        row
        for row in catalogue.table.to_pylist()
        if row["category"] and split_of(row["image_hash"]) == "test"
    ]
    copies = pa.Table.from_pylist([recompressed(row) for row in test], catalogue.table.schema)
    assert {split_of(image_hash) for image_hash in copies["image_hash"].to_pylist()} == {"train"}
    uri, cursor = written(tmp_path, pa.concat_tables([catalogue.table, copies]))
    before, after = (
        len(load_training_data(which, SingleProcess()).train)
        for which in (spec, replace(spec, products_uri=uri, cursor=cursor))
    )
    assert after - before < 0.05 * len(copies)
    sentence = "Left out of training as near-duplicates of validation or test images: "
    (message,) = (message for message in caplog.messages if message.startswith(sentence))
    assert int(message.removeprefix(sentence).split()[0]) > 0.95 * len(copies)


def recompressed(row: dict[str, Any]) -> dict[str, Any]:
    """The same image as a product of its own, with a hash that falls among the training images."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(row["image"])).save(buffer, "JPEG", quality=80)
    image_hash = "f" + hashlib.sha256(buffer.getvalue()).hexdigest()[1:]
    return {
        **row,
        "product_id": f"copy of {row['product_id']}",
        "image": buffer.getvalue(),
        "image_hash": image_hash,
    }


def test_an_image_of_several_products_counts_once_with_one_category(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    twice = with_column(catalogue.table, "category", pa.array(["zebra"] * len(catalogue.table)))
    twice = with_column(twice, "product_id", pa.array([f"again {n}" for n in range(len(twice))]))
    uri, cursor = written(tmp_path, pa.concat_tables([catalogue.table, twice]))
    labelled = read_labelled_images(uri, cursor)
    assert labelled.hashes.to_pylist() == sorted(set(catalogue.table["image_hash"].to_pylist()))
    assert list(labelled.categories).count("zebra") == UNLABELLED
    hashes, labels = select_split(labelled, summarize(uri, cursor, labelled).categories, Subset("train"))
    assert len(load_images(uri, cursor, GREY, hashes, labels)) == len(hashes)


def test_images_of_any_size_and_colour_come_in_the_networks_shape(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    images = [
        Image.new("RGB", (10 + n, 40), (n, 5, 9)) if n % 2 else Image.new("L", (90, 20 + n), n)
        for n in range(8)
    ]
    table = with_column(
        catalogue.table.slice(UNLABELLED, 8),
        "image",
        pa.array([png(image) for image in images], pa.binary()),
    )
    uri, cursor = written(tmp_path, table)
    labelled = read_labelled_images(uri, cursor)
    dataset = load_images(
        uri, cursor, Preprocessing(32, 3), labelled.hashes, np.zeros(len(labelled.hashes), np.int64)
    )
    assert dataset.read(np.arange(8)).shape == (8, 32, 32, 3)


def test_deleted_images_are_not_trained_on(tmp_path: Path, catalogue: Catalogue) -> None:
    uri, _ = written(tmp_path, catalogue.table)
    deleted = catalogue.table["image_hash"].to_pylist()[UNLABELLED + 1]
    DeltaTable(uri).delete(f"image_hash = '{deleted}'")
    cursor = head(uri)
    assert cursor is not None
    assert deleted not in read_labelled_images(uri, cursor).hashes.to_pylist()


def test_a_category_with_too_few_images_is_left_out_and_named(
    tmp_path: Path, catalogue: Catalogue, caplog: pytest.LogCaptureFixture
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
    spec = plan_training(
        catalogue.settings(tmp_path, products=uri), cursor, Hyperparameters(), Budget(6_000, 64, 1, 2)
    )
    assert "rare" not in spec.categories
    assert len(spec.categories) == 10
    assert "These categories have too few training images and are not trained on: 'rare' (3)." in caplog.text


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        (
            lambda n: None,
            r"has 0 categories with at least 4 distinct training images.*Deliver products with a category",
        ),
        (lambda n: "shoe", r"has 1 categories with at least 4"),
        (lambda n: f"category {n}", r"has 0 categories with at least 4"),
    ],
    ids=["none", "one", "one each"],
)
def test_a_catalogue_without_two_categories_is_refused(
    tmp_path: Path, catalogue: Catalogue, categories: object, message: str
) -> None:
    names = pa.array([categories(n) for n in range(len(catalogue.table))], pa.string())  # type: ignore[operator]
    uri, cursor = written(tmp_path, with_column(catalogue.table, "category", names))
    with pytest.raises(InputError, match=message):
        plan_training(
            catalogue.settings(tmp_path, products=uri), cursor, Hyperparameters(), Budget(6_000, 64, 1, 2)
        )


def test_one_image_under_many_products_is_too_little_to_learn_from(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    same = pa.array([catalogue.table["image_hash"][500].as_py()] * len(catalogue.table))
    uri, cursor = written(tmp_path, with_column(catalogue.table, "image_hash", same))
    with pytest.raises(InputError, match="distinct training images"):
        summarize(uri, cursor)


def test_fewer_images_than_a_step_takes_are_refused(tmp_path: Path, catalogue: Catalogue) -> None:
    uri, cursor = written(tmp_path, catalogue.table.slice(UNLABELLED, 130))
    with pytest.raises(
        InputError,
        match=r"training images are fewer than the 128 of one step \(64 on each of 2 ranks, RECSIM_RANKS\)",
    ):
        plan_training(
            catalogue.settings(tmp_path, products=uri), cursor, Hyperparameters(), Budget(6_000, 64, 2, 2)
        )


def test_another_table_than_the_planned_one_is_refused(catalogue: Catalogue) -> None:
    with pytest.raises(MissingError, match="recreated"):
        summarize(catalogue.uri, Cursor("another", 0))
