"""The interface of all vector stores: unit vectors under integer keys; put, remove, get and search."""

from __future__ import annotations

from abc import ABC, abstractmethod

from recsim_tasks.arrays import BoolArray, Float32Array, Int64Array


class VectorStore(ABC):
    """Unit vectors float32 under keys int64, which are not negative."""

    dimensions: int

    @abstractmethod
    def put(self, vectors: Float32Array, keys: Int64Array) -> None:
        """Add `vectors` [n, d] under `keys` [n]; a key that exists gets the new vector."""

    @abstractmethod
    def remove(self, keys: Int64Array) -> None:
        """Remove `keys`; unknown keys are ignored."""

    @abstractmethod
    def get(self, keys: Int64Array) -> Float32Array:
        """Return the vectors float32 [n, d] of `keys` [n], all of which must exist, bit for bit as put."""

    @abstractmethod
    def search(
        self, queries: Float32Array, k: int, allowed: BoolArray | None = None, effort: float = 1
    ) -> tuple[Float32Array, Int64Array]:
        """Return scores and keys [q, k], best first; the key is -1 where fewer than k were found.

        `allowed` says by key which may be found. `effort` multiplies how many vectors are compared; from
        `max_effort` on, the search is exact.
        """

    @property
    @abstractmethod
    def max_effort(self) -> float:
        """The effort at which a search compares every vector: 1 for an exact store."""

    @abstractmethod
    def __len__(self) -> int: ...
