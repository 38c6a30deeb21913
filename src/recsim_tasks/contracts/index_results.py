"""Results of jobs on the index."""

from __future__ import annotations

from recsim_tasks.contracts.base import JobResult, Record


class IndexCounts(Record):
    """The products of an index, and how many of them a job changed."""

    size: int
    added: int
    replaced: int
    removed: int


class IndexResult(IndexCounts, JobResult):
    """`recsim index build`, `append` and `compact`: the products of the index, and which of them changed."""

    job = "index"
    index_fingerprint: str

    @property
    def summary(self) -> str:  # noqa: D102
        changed = f"{self.added:,} added, {self.replaced:,} replaced, {self.removed:,} removed"
        return f"{self.size:,} products: {changed}"


class RebuildComparison(Record):
    """How an index differs from a rebuild at the same version of the catalogue."""

    size: int
    """Products of the index."""
    missing: int
    unexpected: int
    """Products that the catalogue does not have."""
    outdated: int
    """Products with other fields or another image."""
    compared: int
    """Products whose embedding and thumbnail were compared with the embeddings table."""
    differing: int
    """Those that differ in any bit."""
    overlap: float
    """Share of the exact ten nearest neighbours that the index finds."""
    rebuilt_overlap: float
    """Share that a rebuild finds, or that this index found when it was built."""


class IndexVerifyResult(RebuildComparison, JobResult):
    """`recsim index verify`: whether an index equals a rebuild. Exit code 3 when it does not."""

    job = "index-verify"
    equal: bool
    reasons: list[str]

    @property
    def summary(self) -> str:  # noqa: D102
        return " ".join(self.reasons)
