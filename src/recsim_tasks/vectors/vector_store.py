"""The interface that every index of vectors has: keys of our own, unit vectors, added, replaced, removed and searched."""

from __future__ import annotations

from abc import ABC, abstractmethod

from recsim_tasks.vectors.brute_force import Floats, Rows
from recsim_tasks.vectors.ranking import Flags


class Store(ABC):
    """What every kind of index can do; keys are int64 and not negative, vectors float32 of unit length."""

    dimensions: int

    @abstractmethod
    def put(self, vectors: Floats, keys: Rows) -> None:
        """Add `vectors` [n, d] under `keys` [n], in place of what these keys held."""

    @abstractmethod
    def remove(self, keys: Rows) -> None:
        """Take `keys` out; a key that is not there is passed over."""

    @abstractmethod
    def get(self, keys: Rows) -> Floats:
        """The vectors of `keys` [n], all of which must be there, as float32 [n, d], bit for bit as they were put."""

    @abstractmethod
    def search(
        self, queries: Floats, k: int, among: Flags | None = None, effort: float = 1
    ) -> tuple[Floats, Rows]:
        """Scores and keys [q, k], best first, -1 for a key where fewer than k were found.

        `among` says by key who may be found. `effort` multiplies how much is looked at; from `most_effort` on all k are found, exactly.
        """

    @property
    @abstractmethod
    def most_effort(self) -> float:
        """The effort at which a search looks at every vector: 1 where it always does."""

    @abstractmethod
    def __len__(self) -> int: ...
