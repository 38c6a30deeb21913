"""Labelled images of the catalogue at one version, read from Delta's Parquet files without Spark."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from recsim_tasks.arrays import BoolArray, Float32Array, Int64Array, UInt8Array, UInt64Array
from recsim_tasks.catalogue.delta.image_files import iter_images
from recsim_tasks.catalogue.delta.reader import read_products
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import InputError, MissingError
from recsim_tasks.learning.data.decoded_images import ImageStore, InMemoryImages, OnDiskImages
from recsim_tasks.learning.data.near_duplicates import grey_signature
from recsim_tasks.learning.data.sampler import MIN_IMAGES_PER_CATEGORY
from recsim_tasks.learning.data.shards import SUBSAMPLE, assigned_ranks, fractions_and_keys, uniform_draws
from recsim_tasks.learning.data.splits import Split, splits_of
from recsim_tasks.learning.preprocessing import Preprocessing, decode_readable


@dataclass(frozen=True)
class DatasetSummary:
    """The categories with enough images to learn from, and the number of images by split."""

    categories: tuple[str, ...]
    train: int
    validation: int
    excluded: dict[str, int] = field(default_factory=dict)
    """Training images of each category that has too few."""


@dataclass(frozen=True)
class LabelledImages:
    """Every distinct image of the catalogue that has a category, ordered by its hash; [n] each."""

    hashes: pa.Array
    categories: npt.NDArray[np.object_]
    splits: npt.NDArray[np.str_]
    keys: UInt64Array
    """Seeds of the random draws for each image; see `shards`."""


@dataclass(frozen=True)
class Subset:
    """A random share of one split; of that, the part that belongs to one of several ranks."""

    split: Split
    share: float = 1.0
    seed: int = 0
    rank: int = 0
    ranks: int = 1


@dataclass(frozen=True)
class ImageDataset:
    """Decoded images, the numbers of their categories, int64 [n], and their signatures, float32 [n, 64]."""

    images: ImageStore
    labels: Int64Array
    signatures: Float32Array
    rows: Int64Array
    """The row of each image in `images`."""

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, positions: Int64Array) -> UInt8Array:
        """The decoded images at `positions` [n], uint8 [n, h, w, c]."""
        return self.images.read(self.rows[positions])

    def where(self, mask: BoolArray) -> ImageDataset:
        """The images for which `mask` [n] is true."""
        return replace(self, labels=self.labels[mask], signatures=self.signatures[mask], rows=self.rows[mask])

    def in_memory(self) -> ImageDataset:
        """A copy with all images in memory, which can be pickled."""
        images = InMemoryImages(self.read(np.arange(len(self))))
        return replace(self, images=images, rows=np.arange(len(self)))


def read_labelled_images(uri: str, cursor: Cursor) -> LabelledImages:
    """Read the labels of the catalogue at `cursor`; an image with two categories gets the first by name."""
    table = read_products(uri, cursor, ["category", "image_hash"])
    table = table.filter(pc.and_(pc.is_valid(table["category"]), pc.not_equal(table["category"], "")))
    table = table.group_by("image_hash").aggregate([("category", "min")]).sort_by("image_hash")
    hashes = table["image_hash"].combine_chunks()
    fractions, keys = fractions_and_keys(hashes.to_pylist())
    return LabelledImages(hashes, table["category_min"].to_numpy(), splits_of(fractions), keys)


def summarize(uri: str, cursor: Cursor, labelled: LabelledImages | None = None) -> DatasetSummary:
    """Count labelled images by split; `InputError` when there are too few to learn a similarity from."""
    labelled = labelled or read_labelled_images(uri, cursor)
    names, numbers = np.unique(labelled.categories.astype(str), return_inverse=True)
    train, validation = (
        np.bincount(numbers[labelled.splits == split], minlength=len(names))
        for split in ("train", "validation")
    )
    enough = train >= MIN_IMAGES_PER_CATEGORY
    excluded = dict(zip(names[~enough].tolist(), train[~enough].tolist(), strict=True))
    summary = DatasetSummary(
        tuple(names[enough].tolist()), int(train[enough].sum()), int(validation[enough].sum()), excluded
    )
    if len(summary.categories) < 2 or summary.validation < 2:
        raise InputError(
            f"The catalogue {uri} at version {cursor.version} has {len(summary.categories)} categories with "
            f"at least {MIN_IMAGES_PER_CATEGORY} distinct training images, and {summary.validation} "
            "validation images; training needs two of each. Deliver products with a category, then run the "
            "refresh again."
        )
    return summary


def select_split(
    labelled: LabelledImages, categories: tuple[str, ...], subset: Subset
) -> tuple[pa.Array, Int64Array]:
    """Hashes and category numbers, int64 [n], of the images of a `subset` that have one of `categories`."""
    numbers = {category: number for number, category in enumerate(categories)}
    labels = np.array([numbers.get(category, -1) for category in labelled.categories.tolist()], np.int64)
    chosen = (
        (labels >= 0)
        & (labelled.splits == subset.split)
        & (uniform_draws(labelled.keys, SUBSAMPLE, subset.seed) < subset.share)
        & (assigned_ranks(labelled.keys, subset.seed, subset.ranks) == subset.rank)
    )
    return labelled.hashes.filter(pa.array(chosen)), labels[chosen]


def load_images(
    uri: str, cursor: Cursor, preprocessing: Preprocessing, hashes: pa.Array, labels: Int64Array
) -> ImageDataset:
    """Decode the images of `hashes`, in this order, into a file; takes 256 bytes of memory per image.

    Images that do not decode are left out, with a warning in the log.
    """
    signatures = np.zeros((len(hashes), 64), np.float32)
    stored: list[str] = []
    unreadable: list[str] = []

    def decoded() -> Iterator[UInt8Array]:
        for batch in iter_images(uri, cursor, hashes):
            images, readable = decode_readable(batch["image"].to_pylist(), preprocessing)
            images, names = images[readable], np.array(batch["image_hash"].to_pylist(), object)
            signatures[len(stored) : len(stored) + len(images)] = [grey_signature(image) for image in images]
            stored.extend(names[readable])
            unreadable.extend(names[~readable])
            yield images

    images = OnDiskImages(decoded(), len(hashes), preprocessing.shape)
    missing = len(hashes) - len(stored) - len(unreadable)
    if missing:
        raise MissingError(
            f"{missing:,} images of the catalogue {uri} are in none of its data files. "
            "Plan the refresh again."
        )
    positions = pc.index_in(hashes, value_set=pa.array(stored, pa.string())).fill_null(-1)
    rows = positions.to_numpy().astype(np.int64)
    rows, labels = rows[rows >= 0], labels[rows >= 0]
    return ImageDataset(images, labels, signatures[rows], rows)
