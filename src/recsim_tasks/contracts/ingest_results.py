"""Results of jobs on feeds: `ingest` and `quarantine`."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from recsim_tasks.contracts.base import JobResult, Record


class StrayEntry(Record):
    """An entry of the inbox that is no feed."""

    name: str
    reason: str


class RowReason(Record):
    """A reason why rows of a feed are invalid."""

    reason: str
    """With `…` in place of what differs from row to row."""
    rows: int
    """The number of rows with this reason."""
    example: str
    """The product and the full reason of one of them."""

    @property
    def sentence(self) -> str:
        """Number, reason and example in one line."""
        return f"{self.rows:,} rows: {self.reason} ({self.example})"


class GuardViolation(Record):
    """What a guard measured on a feed, and the limit that it exceeds."""

    guard: str
    """The setting with the limit, such as `max_withdrawn_share`."""
    value: float
    """A share between 0 and 1."""
    limit: float
    category: str | None = None
    """The category with this value; None if the guard measures the whole feed."""
    sentence: str
    """Value, limit and setting in words."""


class FeedOnHold(Record):
    """A feed on hold: none of its rows is written until a person accepts or refuses it."""

    feed_id: str
    digest: str
    """SHA-256 of the feed's files; identifies the delivery."""
    folder: str
    figures: list[GuardViolation]
    row_reasons: list[RowReason]
    """The most frequent reasons why rows are invalid."""


class OnHoldRecord(Record):
    """What a home keeps of a feed on hold: none of its rows are in the quarantine table yet."""

    feed_id: str
    digest: str
    at: float
    """Since when, in seconds since the epoch."""
    row_reasons: list[RowReason]


class Acceptance(Record):
    """Who accepted a feed that a guard had put on hold."""

    by: str
    at: float
    """Seconds since the epoch."""
    guards: list[str]
    """The guards that the feed violates."""
    reasons: list[str]
    """A sentence for each of them."""


class RowCounts(Record):
    """How many rows of a feed had which effect."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    outdated: int = 0
    """Rows that are older than the catalogue's, or than others of the feed."""
    quarantined: int = 0
    """Rows that are invalid."""

    @property
    def rows(self) -> int:
        """All of them; products that a full feed withdraws count as deleted."""
        return sum(getattr(self, name) for name in RowCounts.model_fields)

    @property
    def quarantined_share(self) -> float:
        """The share of invalid rows; 0 without rows."""
        return self.quarantined / self.rows if self.rows else 0.0

    @property
    def sentence(self) -> str:
        """The counts in words."""
        counts = ", ".join(f"{getattr(self, name):,} {name}" for name in RowCounts.model_fields)
        return counts + (f" ({self.quarantined_share:.1%})" if self.quarantined else "")


class FeedResult(RowCounts):
    """What one feed did to the catalogue."""

    feed_id: str
    applied: bool
    """False when it was applied before: then all counts are 0."""
    table_version: int | None
    """The catalogue's version afterwards."""
    accepted: Acceptance | None = None


class IngestResult(RowCounts, JobResult):
    """`recsim ingest`: the effect of all feeds together, and of each."""

    job = "ingest"
    feed_id: str | None
    """Ids of the feeds, joined by commas; None when there was no feed."""
    applied: bool
    """Whether any of them was applied now."""
    table_version: int | None
    """The catalogue's version afterwards; None when there is no catalogue yet."""
    feeds: list[FeedResult] = Field(default=[])
    ignored: list[StrayEntry] = Field(default=[])
    """Entries of the inbox that are not feeds."""
    reasons: list[str] = Field(default=[])
    """Why a feed is on hold, a sentence for each guard."""
    on_hold: FeedOnHold | None = None
    """The feed that a guard put on hold (exit code 3)."""

    @property
    def summary(self) -> str:  # noqa: D102
        parts = [self._effect] if self.feed_id or not self.on_hold else []
        if self.on_hold:
            parts.append(f"{self.on_hold.feed_id} is on hold: {' '.join(self.reasons)}")
        if self.ignored:
            entries = ", ".join(f"{entry.name} {entry.reason}" for entry in self.ignored)
            parts.append(f"not a feed, ignored: {entries}")
        return "; ".join(parts)

    @property
    def _effect(self) -> str:
        if not self.feed_id:
            return "no feed in the inbox"
        if not self.applied:
            return f"{self.feed_id} was applied before, nothing has changed"
        return f"{self.feed_id}: {self.sentence}; catalogue at version {self.table_version}"


class QuarantinedRow(Record):
    """A row of the quarantine, without its image."""

    feed_id: str | None
    """The feed it came with; `model FINGERPRINT` where that encoder cannot embed the product's image."""
    product_id: str | None
    reason: str | None
    row: str | None
    """The delivered row, in JSON or as its line; None where an encoder quarantined the product."""
    at: datetime
    released_by: str | None
    """The feed whose valid row for the product released it."""
    released_at: datetime | None


class QuarantineResult(JobResult):
    """`recsim quarantine`: the rows in quarantine by reason, the newest of them, and the feeds on hold."""

    job = "quarantine"
    rows: int
    """How many rows are listed, apart from the limit."""
    by_reason: dict[str, int]
    """The number of rows by reason, most frequent first."""
    newest: list[QuarantinedRow]
    """The newest rows, up to the limit."""
    on_hold: list[OnHoldRecord]
    """Feeds on hold, newest first."""

    @property
    def summary(self) -> str:  # noqa: D102
        return f"{self.rows:,} rows in quarantine, {len(self.on_hold):,} feeds on hold"
