"""Read the images of the catalogue that the last steps need: canaries, coverage, the gate's page."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from recsim_tasks.refresh.candidate import Candidate

CANARIES = 8
# How many images are tried, and from how many they are taken, newest files first.
COVERAGE_IMAGES, COVERAGE_CANDIDATES = 256, 8_192
PAGE_SECONDS = 60.0


def canary_images(settings: Settings, head: Cursor) -> list[bytes]:
    """Return readable images of the catalogue, which serving embeds before it trusts a model."""
    from recsim_tasks.catalogue.delta.reader import iter_products
    from recsim_tasks.catalogue.images.decode import is_readable

    batches = iter_products(settings.products_uri, head, ["image"])
    images = (image.as_py() for batch in batches for image in batch.column("image"))
    return list(islice(filter(is_readable, images), CANARIES))


def coverage(settings: Settings, candidate: Candidate) -> float:
    """Measure the coverage with images of the catalogue, newest files first."""
    from recsim_tasks.release.evaluation.measure import coverage as measure_coverage

    hashes = sorted(candidate.index.products["image_hash"].to_pylist())[:COVERAGE_CANDIDATES]

    def sample() -> Iterator[pa.Table]:
        tried = 0
        for part in _images(settings, candidate.head, set(hashes)):
            yield part
            tried += len(part)
            if tried >= COVERAGE_IMAGES:
                return

    return measure_coverage(candidate.index, candidate.embedder, sample())


def page_images(settings: Settings, head: Cursor, hashes: set[str]) -> dict[str, bytes]:
    """Read images by hash, for a minute at most: each may be in another file."""
    loaded: dict[str, bytes] = {}
    deadline = time.monotonic() + PAGE_SECONDS
    for part in _images(settings, head, hashes):
        loaded.update(zip(part["image_hash"].to_pylist(), part["image"].to_pylist(), strict=True))
        if time.monotonic() > deadline:
            break
    return loaded


def _images(settings: Settings, head: Cursor, hashes: set[str]) -> Iterator[pa.Table]:
    import pyarrow as pa

    from recsim_tasks.catalogue.delta.image_files import iter_images

    yield from iter_images(settings.products_uri, head, pa.array(sorted(hashes), pa.string()))
