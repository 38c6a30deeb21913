"""Split work on many files into batches of a bounded size, each of which becomes one commit. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class ImageBatch:
    """Hashes of images, and the files that contain them."""

    images: pa.Array
    files: tuple[str, ...]


def image_batches(images_by_file: Mapping[str, pa.Array], limit: int) -> Iterator[ImageBatch]:
    """Split image hashes, grouped by file, into batches of at most `limit`.

    Small files share a batch; a large file spans several.
    """
    parts: list[tuple[str, pa.Array]] = []
    for file, images in images_by_file.items():
        for start in range(0, len(images), limit):
            part = images.slice(start, limit)
            if parts and sum(len(other) for _, other in parts) + len(part) > limit:
                yield _batch(parts)
                parts = []
            parts.append((file, part))
    if parts:
        yield _batch(parts)


def _batch(parts: list[tuple[str, pa.Array]]) -> ImageBatch:
    import pyarrow as pa

    files = tuple(dict.fromkeys(file for file, _ in parts))
    return ImageBatch(pa.concat_arrays([images for _, images in parts]), files)
