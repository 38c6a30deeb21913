"""The interface that every index of vectors has: keys of our own, unit vectors, added, replaced, removed and searched."""

from __future__ import annotations

from abc import ABC, abstractmethod

from recsim_tasks.arrays import BoolArray, Float32Array, Int64Array


class Store(ABC):
    """What every kind of index can do; keys are int64 and not negative, vectors float32 of unit length."""

    dimensions: int

    @abstractmethod
    def put(self, vectors: Float32Array, keys: Int64Array) -> None:
        """Add `vectors` [n, d] under `keys` [n], in place of what these keys held."""

    @abstractmethod
    def remove(self, keys: Int64Array) -> None:
        """Take `keys` out; a key that is not there is passed over."""

    @abstractmethod
    def get(self, keys: Int64Array) -> Float32Array:
        """The vectors of `keys` [n], all of which must be there, as float32 [n, d], bit for bit as they were put."""

    @abstractmethod
    def search(
        self, queries: Float32Array, k: int, among: BoolArray | None = None, effort: float = 1
    ) -> tuple[Float32Array, Int64Array]:
        """Scores and keys [q, k], best first, -1 for a key where fewer than k were found.

        `among` says by key who may be found. `effort` multiplies how much is looked at; from `most_effort` on all k are found, exactly.
        """

    @property
    @abstractmethod
    def most_effort(self) -> float:
        """The effort at which a search looks at every vector: 1 where it always does."""

    @abstractmethod
    def __len__(self) -> int: ...
