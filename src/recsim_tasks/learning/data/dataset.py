"""Labelled images out of the catalogue at one version, read from Delta's Parquet files without Spark."""

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
from recsim_tasks.learning.data.image_cache import Images, InMemory, OnDisk
from recsim_tasks.learning.data.near_duplicates import thumbnail
from recsim_tasks.learning.data.sampler import LEAST_PER_CATEGORY
from recsim_tasks.learning.data.shards import SHARE, lots, places, ranks_of
from recsim_tasks.learning.data.splits import Split, splits_of
from recsim_tasks.learning.preprocessing import Preprocessing, decode_readable


@dataclass(frozen=True)
class Survey:
    """What there is to learn from: the categories that can be learnt, how many of their images each split has, and what is left out."""

    categories: tuple[str, ...]
    train: int
    validation: int
    left_out: dict[str, int] = field(default_factory=dict)
    """Categories with too few training images, and how many those are."""


@dataclass(frozen=True)
class Labelled:
    """Every different picture of the catalogue that has a category, ordered by its hash; [n] each."""

    hashes: pa.Array
    categories: npt.NDArray[np.object_]
    splits: npt.NDArray[np.str_]
    keys: UInt64Array


@dataclass(frozen=True)
class Examples:
    """Decoded images, the numbers of their categories, int64 [n], and their thumbnails, float32 [n, 64]."""

    images: Images
    labels: Int64Array
    thumbnails: Float32Array
    rows: Int64Array
    """Where in `images` each one lies."""

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, which: Int64Array) -> UInt8Array:
        """Decoded images, uint8 [n, h, w, c], of `which` [n]."""
        return self.images.read(self.rows[which])

    def only(self, kept: BoolArray) -> Examples:
        """Those that are `kept` [n]."""
        return replace(self, labels=self.labels[kept], thumbnails=self.thumbnails[kept], rows=self.rows[kept])

    def in_memory(self) -> Examples:
        """The same with all images in memory, such as can be sent elsewhere."""
        return replace(self, images=InMemory(self.read(np.arange(len(self)))), rows=np.arange(len(self)))


def labelled(uri: str, cursor: Cursor) -> Labelled:
    """What the catalogue at `cursor` says of its pictures; of two categories of one picture the first in the alphabet counts."""
    table = read_products(uri, cursor, ["category", "image_hash"])
    table = table.filter(pc.and_(pc.is_valid(table["category"]), pc.not_equal(table["category"], "")))
    table = table.group_by("image_hash").aggregate([("category", "min")]).sort_by("image_hash")
    hashes = table["image_hash"].combine_chunks()
    where, keys = places(hashes.to_pylist())
    return Labelled(hashes, table["category_min"].to_numpy(), splits_of(where), keys)


def survey(uri: str, cursor: Cursor, known: Labelled | None = None) -> Survey:
    """Count labelled pictures by split; `InputError` when they are too few to learn a similarity from."""
    known = known or labelled(uri, cursor)
    names, numbers = np.unique(known.categories.astype(str), return_inverse=True)
    train, validation = (
        np.bincount(numbers[known.splits == split], minlength=len(names)) for split in ("train", "validation")
    )
    enough = train >= LEAST_PER_CATEGORY
    few = dict(zip(names[~enough].tolist(), train[~enough].tolist(), strict=True))
    found = Survey(
        tuple(names[enough].tolist()), int(train[enough].sum()), int(validation[enough].sum()), few
    )
    if len(found.categories) < 2 or found.validation < 2:
        raise InputError(
            f"The catalogue {uri} at version {cursor.version} has {len(found.categories)} categories with at least {LEAST_PER_CATEGORY} different training images, "
            f"and {found.validation} validation images; training needs two of each. Deliver products with a category, then run the refresh again."
        )
    return found


def select(
    known: Labelled,
    categories: tuple[str, ...],
    split: Split,
    share: float = 1.0,
    seed: int = 0,
    rank: int = 0,
    ranks: int = 1,
) -> tuple[pa.Array, Int64Array]:
    """Hashes and category numbers of a `share` of `split`, drawn by `seed`, and of that what belongs to `rank` alone."""
    numbers = {category: number for number, category in enumerate(categories)}
    labels = np.array([numbers.get(category, -1) for category in known.categories.tolist()], np.int64)
    chosen = (
        (labels >= 0)
        & (known.splits == split)
        & (lots(known.keys, SHARE, seed) < share)
        & (ranks_of(known.keys, seed, ranks) == rank)
    )
    return known.hashes.filter(pa.array(chosen)), labels[chosen]


def load(
    uri: str, cursor: Cursor, preprocessing: Preprocessing, hashes: pa.Array, labels: Int64Array
) -> Examples:
    """Decode the pictures of `hashes` into a file, ordered by hash; besides, 256 bytes of thumbnail an image are held in memory."""
    thumbnails = np.zeros((len(hashes), 64), np.float32)
    found: list[str] = []
    left_out: list[str] = []

    def decoded() -> Iterator[UInt8Array]:
        for batch in iter_images(uri, cursor, hashes):
            images, readable = decode_readable(batch["image"].to_pylist(), preprocessing)
            images, names = images[readable], np.array(batch["image_hash"].to_pylist(), object)
            thumbnails[len(found) : len(found) + len(images)] = [thumbnail(image) for image in images]
            found.extend(names[readable])
            left_out.extend(names[~readable])
            yield images

    images = OnDisk(decoded(), len(hashes), preprocessing.shape)
    lost = len(hashes) - len(found) - len(left_out)
    if lost:
        raise MissingError(
            f"{lost:,} pictures of the catalogue {uri} lie in none of its data files. Plan the refresh anew."
        )
    rows = (
        pc.index_in(hashes, value_set=pa.array(found, pa.string())).fill_null(-1).to_numpy().astype(np.int64)
    )
    rows, labels = rows[rows >= 0], labels[rows >= 0]
    return Examples(images, labels, thumbnails[rows], rows)
