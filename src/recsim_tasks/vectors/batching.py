"""How work on many files is cut into parts of a bounded size, each of which is committed. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Chunk:
    """These images, which lie in these files."""

    images: pa.Array
    files: tuple[str, ...]


def chunks(places: Mapping[str, pa.Array], limit: int) -> Iterator[Chunk]:
    """Cut images, by the file that they lie in, into chunks of `limit` at most: small files share one, a large file has several."""
    gathered: list[tuple[str, pa.Array]] = []
    for file, images in places.items():
        for start in range(0, len(images), limit):
            part = images.slice(start, limit)
            if gathered and sum(len(other) for _, other in gathered) + len(part) > limit:
                yield _chunk(gathered)
                gathered = []
            gathered.append((file, part))
    if gathered:
        yield _chunk(gathered)


def _chunk(gathered: list[tuple[str, pa.Array]]) -> Chunk:
    import pyarrow as pa

    return Chunk(
        pa.concat_arrays([images for _, images in gathered]),
        tuple(dict.fromkeys(file for file, _ in gathered)),
    )
