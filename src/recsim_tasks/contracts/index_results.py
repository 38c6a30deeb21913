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
    """Products of the catalogue that the index lacks."""
    unexpected: int
    """Products of the index that the catalogue lacks."""
    outdated: int
    """Products with other fields or another image."""
    compared: int
    """Products whose embedding and thumbnail were compared with the embeddings table."""
    differing: int
    """Those that differ in any bit."""
    overlap: float
    """Recall@10 of the index."""
    rebuilt_overlap: float
    """Recall@10 of a rebuild, or of this index when it was built."""


class IndexVerifyResult(RebuildComparison, JobResult):
    """`recsim index verify`: whether an index equals a rebuild. Exit code 3 when it does not."""

    job = "index-verify"
    equal: bool
    reasons: list[str]

    @property
    def summary(self) -> str:  # noqa: D102
        return " ".join(self.reasons)
