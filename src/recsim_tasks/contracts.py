"""The results of jobs: one frozen model per job, with a one-line `summary`.

A job prints its result as JSON on the last line of stdout, a refresh keeps it as `JOB.json` in its workspace,
and the Airflow plugin parses it. This module imports nothing but pydantic, so that all three can use it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

Decision = Literal["skip", "append", "rebuild", "retrain"]
Verdict = Literal["passed", "rejected"]
# The registered model in MLflow, whose versions are the releases.
REGISTERED_MODEL = "recsim"
FailureType = Literal[
    "failed", "unavailable", "input", "configuration", "missing", "rejected", "on_hold", "frozen"
]


@dataclass(frozen=True)
class Cursor:
    """One version of one Delta table; a table that was dropped and created again has another id."""

    table_id: str
    version: int

    def as_json(self) -> dict[str, Any]:
        """The form that manifests and results carry."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Cursor:
        """Read the form that manifests and results carry."""
        return cls(table_id=str(value["table_id"]), version=int(value["version"]))


class Record(BaseModel):
    """A frozen part of a result; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class JobResult(Record):
    """What a job returns."""

    job: ClassVar[str]
    """The job's name, which is the stem of its file in a workspace."""
    elapsed_seconds: float | None = None
    """How long the job took, as its runner measured it."""

    @property
    def summary(self) -> str:
        """What the job did, in one line."""
        raise NotImplementedError


def result_model(job: str) -> type[JobResult] | None:
    """The model of a job's result, by the job's name; None if no job has that name."""
    return next((model for model in JobResult.__subclasses__() if model.job == job), None)


class Failure(Record):
    """What a failed job prints, beside the fields of its result where it has one."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    error: str
    error_type: str
    exit_code: int


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


class HeldFeed(Record):
    """A feed on hold: nothing of it is written until a person accepts or refuses it."""

    feed_id: str
    digest: str
    """SHA-256 of the feed's files; identifies the delivery."""
    folder: str
    figures: list[GuardViolation]
    row_reasons: list[RowReason]
    """The most frequent reasons why rows are invalid."""


class HoldRecord(Record):
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
    feeds: list[FeedResult] = []
    ignored: list[StrayEntry] = []
    """Entries of the inbox that are not feeds."""
    reasons: list[str] = []
    """Why a feed is on hold, a sentence for each guard."""
    on_hold: HeldFeed | None = None
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
    """The feed that it came with, or `model FINGERPRINT` where an encoder cannot embed the product's image."""
    product_id: str | None
    reason: str | None
    row: str | None
    """The row as it was delivered, in JSON or as its line; None where an encoder quarantined the product."""
    at: datetime | None
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
    on_hold: list[HoldRecord]
    """Feeds on hold, newest first."""

    @property
    def summary(self) -> str:  # noqa: D102
        return f"{self.rows:,} rows in quarantine, {len(self.on_hold):,} feeds on hold"


class Estimate(Record):
    """What a refresh will cost."""

    images: int
    """Images to embed."""
    minutes: float | None
    """Median of the last refreshes with the same decision; None without any."""

    @property
    def sentence(self) -> str:
        """The estimate in brackets; empty when nothing is to be embedded."""
        if not self.images:
            return ""
        minutes = "" if self.minutes is None else f"about {self.minutes:g} min, "
        return f" ({minutes}{self.images:,} images to embed)"


class PlanResult(JobResult):
    """`recsim plan`: what the refresh does, and why."""

    job = "plan"
    refresh_id: str
    decision: Decision
    reasons: list[str]
    warm_start: bool
    """Whether a training starts from the champion's weights."""
    cursor: Cursor | None
    """Up to where the champion reflects the catalogue; None without a champion."""
    head: Cursor
    """The version of the catalogue that this refresh takes in."""
    changes: dict[str, int]
    """Changed products by type: `insert`, `replace` (another image), `update` (other fields), `delete`."""
    champion: int | None
    """Version of the champion."""
    champion_unreadable: str | None
    """Why the champion cannot be read, if it cannot."""
    estimate: Estimate

    @property
    def summary(self) -> str:  # noqa: D102
        why = " ".join(self.reasons)
        return (f"{self.decision}: {why}" if why else self.decision) + self.estimate.sentence


class TuneResult(JobResult):
    """`recsim tune`: the best hyperparameters that were found."""

    job = "tune"
    best_params: dict[str, float | str]
    trials: int
    failed: int
    pruned: int
    metric: str
    best_score: float
    champion_score: float | None
    """Of the champion's own hyperparameters."""
    reasons: list[str]

    @property
    def summary(self) -> str:  # noqa: D102
        return " ".join(self.reasons) or f"best {self.metric} {self.best_score:.3f} of {self.trials} trials"


class TrainResult(JobResult):
    """`recsim train`: the trained encoder, and how good it is."""

    job = "train"
    model_fingerprint: str
    ranks: int
    metrics: dict[str, float]
    """Of the validation images, at the end."""
    quality: dict[str, float]
    """Of the test images; empty when none has a category of the training."""
    mlflow_run_id: str
    trained_at: float
    """Seconds since the epoch."""

    @property
    def summary(self) -> str:  # noqa: D102
        parts = {"test images": self.quality, "validation images": self.metrics}
        made = f"encoder {self.model_fingerprint[:12]} by {self.ranks} ranks"
        return made + "".join(f"; {name}: {_listing(values)}" for name, values in parts.items() if values)


class EmbedResult(JobResult):
    """`recsim embed`: how many different images were embedded."""

    job = "embed"
    embedded: int
    reused: int
    """Images that this encoder had embedded before."""
    of: int
    """All images of the catalogue."""
    unembeddable: int
    """Images that do not decode or have no unit vector: their products are in quarantine."""

    @property
    def summary(self) -> str:  # noqa: D102
        return f"embedded {self.embedded:,} of {self.of:,}, reused {self.reused:,}"


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


class Metrics(Record):
    """The quality of a release, measured on its own products."""

    precision_at_1: float
    precision_at_10: float
    map_at_r: float
    r_precision: float
    ann_recall_at_10: float
    """Share of the exact ten nearest neighbours that the index finds."""
    built_recall: float
    """The same when the index was built."""
    imbalance_growth: float
    """How much more unequal the lists of the index have become since it was built; 1 for no change."""
    query_cpu_p95_ms: float
    """95th percentile of the processor time of a query, in milliseconds."""
    coverage: float | None
    """Share of the tried images that find their own product; None when no image was tried."""
    drift: float | None = None
    """Likelihood that a new image lies farther from the known ones than a held-out image; None when not
    measured."""
    drift_images: float | None = None
    drift_held_out_error: float | None = None

    @property
    def measured(self) -> dict[str, float]:
        """The metrics that were measured, by name."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


class SliceMetrics(Record):
    """The quality of a part of the queries."""

    queries: int
    precision_at_1: float
    precision_at_10: float


class ConfidenceInterval(Record):
    """A mean and its 95 % confidence interval."""

    mean: float
    low: float
    high: float


class RuleResult(Record):
    """What one rule of the gate measured, its limit, and a sentence for people."""

    rule: str
    passed: bool
    challenger: float | None
    """None when the figure could not be measured."""
    champion: float | None = None
    difference: ConfidenceInterval | None = None
    """Challenger minus champion on the same queries, where it was measured query by query."""
    limit: str
    sentence: str
    doubtful: bool = False
    """Whether the loss exceeds the limit but may be due to chance."""


class EvaluateResult(JobResult):
    """`recsim evaluate`: the metrics of the release, and what each rule of the gate says of them."""

    job = "evaluate"
    verdict: Verdict
    reasons: list[str]
    """A sentence of each broken rule; of every rule when none is broken."""
    doubts: list[str]
    """A sentence of each rule that would be broken if the loss were not possibly due to chance."""
    mended_by_rebuild: bool
    """Whether a rule about the index is broken, so that a rebuild can help."""
    rules: list[RuleResult]
    metrics: Metrics
    slices: dict[str, SliceMetrics]
    """By category."""
    since_training: dict[str, SliceMetrics]
    """Products with an image that is `added` since the training, and `existing` ones; empty when not
    known."""
    since_champion: dict[str, SliceMetrics]
    """Products with an image that is `added` since the champion, and `existing` ones; empty without a
    champion."""
    rebuild: RebuildComparison
    champion: int | None
    """The release that it was compared with."""

    @property
    def summary(self) -> str:  # noqa: D102
        broken = [rule.rule for rule in self.rules if not rule.passed]
        rules = f"broken: {', '.join(broken)}" if broken else f"all {len(self.rules)} rules passed"
        figures = f"precision@1 {self.metrics.precision_at_1:.3f}, @10 {self.metrics.precision_at_10:.3f}"
        return " ".join([f"{self.verdict}: {figures}; {rules}.", *self.doubts])


class RegisterResult(JobResult):
    """`recsim register`: the release in the registry, in Staging, with the verdict."""

    job = "register"
    version: int
    previous: int | None
    """The champion that it was compared with."""
    stage: str
    verdict: Verdict
    mlflow_page: str

    @property
    def summary(self) -> str:  # noqa: D102
        return f"release {self.version} registered in {self.stage}, verdict {self.verdict}"


class GateResult(JobResult):
    """`recsim gate`: whether the release may be promoted. Exit code 3 when it is rejected."""

    job = "gate"
    version: int
    verdict: Verdict
    reasons: list[str]
    """A sentence of each broken rule; of every rule when none is broken."""
    mlflow_page: str

    @property
    def summary(self) -> str:  # noqa: D102
        return f"release {self.version} {self.verdict}: {' '.join(self.reasons)}"


class PromoteResult(JobResult):
    """`recsim promote`: the release that is in Production."""

    job = "promote"
    version: int
    previous: int | None
    stage: str

    @property
    def summary(self) -> str:  # noqa: D102
        instead = f", instead of {self.previous}" if self.previous else ""
        return f"release {self.version} is in {self.stage}{instead}"


class VerifyResult(JobResult):
    """`recsim verify`: whether the serving side answers from the release."""

    job = "verify"
    version: int
    live: bool | None
    """None when no serving side is set."""
    waited_seconds: float | None
    reasons: list[str]

    @property
    def summary(self) -> str:  # noqa: D102
        return " ".join(self.reasons)


class Freeze(Record):
    """Promotions are frozen after a rollback until a person resumes them."""

    by: str
    through: Literal["airflow", "cli"]
    at: float
    """Seconds since the epoch."""
    reason: str
    release: int | None
    """The release that was rolled back; None when there was no champion."""
    to: int
    """The release that took its place."""
    unreadable: list[int] = []
    """Newer releases that were passed over because they cannot be read."""


class RollbackResult(JobResult):
    """`recsim rollback`: the earlier release that is in Production again."""

    job = "rollback"
    version: int
    previous: int | None
    stage: str
    frozen: Freeze
    reasons: list[str]

    @property
    def summary(self) -> str:  # noqa: D102
        return " ".join(self.reasons)


class ResumeResult(JobResult):
    """`recsim resume`: promotions are no longer frozen."""

    job = "resume"
    version: int | None
    """The release in Production."""
    frozen: None = None
    reasons: list[str]

    @property
    def summary(self) -> str:  # noqa: D102
        return " ".join(self.reasons)


class ChampionStatus(Record):
    """The release in Production."""

    version: int
    cursor: Cursor
    size: int
    """Number of products."""
    model_fingerprint: str


class Lag(Record):
    """How far the catalogue is ahead of the champion; None when the table was created again since."""

    versions: int | None
    seconds: float | None
    """Age of the oldest version that the champion does not have."""


class StatusResult(JobResult):
    """`recsim status`: the release in Production, and how far the catalogue is ahead of it."""

    job = "status"
    champion: ChampionStatus | None
    head: Cursor | None
    """The newest version of the catalogue."""
    behind: Lag | None
    frozen: Freeze | None
    problem: str | None
    """What is wrong with the registry's alias `champion`."""

    @property
    def summary(self) -> str:  # noqa: D102
        return f"release {self.champion.version} is in Production" if self.champion else "no release yet"


class ProductionPeriod(Record):
    """A time during which a release was in Production."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    version: int
    start: float = Field(alias="from")
    """Seconds since the epoch."""
    end: float | None = Field(alias="to")
    """None while it is in Production."""
    by: str | None
    through: str | None
    why: str | None


class ReleasesResult(JobResult):
    """`recsim releases`: which release was in Production when, oldest first."""

    job = "releases"
    releases: list[ProductionPeriod]

    @property
    def summary(self) -> str:  # noqa: D102
        return f"{len(self.releases)} periods in Production"


class FeedReleaseResult(JobResult):
    """`recsim releases --feed`: which release served a feed first."""

    job = "releases"
    feed_id: str
    catalogue_version: int | None
    """The version that took the feed in; None when the log no longer says."""
    taken_in: float | None
    """Seconds since the epoch."""
    first_served: ProductionPeriod | None

    @property
    def summary(self) -> str:  # noqa: D102
        if self.first_served is None:
            return f"feed {self.feed_id} has not been served yet"
        return f"feed {self.feed_id} was first served by release {self.first_served.version}"


class QueryResult(JobResult):
    """`recsim query`: the nearest products of an image or a product, best first."""

    job = "query"
    release: int
    results: list[dict[str, Any]]
    """`product_id`, `score` and the fields that the catalogue's schema shows."""

    @property
    def summary(self) -> str:  # noqa: D102
        return f"{len(self.results)} products from release {self.release}"


class TableMaintenance(Record):
    """What maintenance did to the files of one table."""

    files_compacted: int
    files_written: int
    files_vacuumed: int


class MaintainResult(JobResult):
    """`recsim maintain`: what was compacted and removed."""

    job = "maintain"
    tables: dict[str, TableMaintenance]
    models_forgotten: int
    """Encoders whose embeddings were removed because no release uses them."""

    @property
    def summary(self) -> str:  # noqa: D102
        return f"{len(self.tables)} tables maintained, embeddings of {self.models_forgotten} encoders removed"


class CheckFinding(Record):
    """One check of `recsim doctor`."""

    name: str
    ok: bool
    detail: str
    """What was found, or what is wrong."""
    remedy: str
    """What to do; empty if `ok`."""
    away: bool
    """Whether this is an outage, not a fault."""


class DoctorResult(JobResult):
    """`recsim doctor`: every check of the machine and its settings."""

    job = "doctor"
    ok: bool
    findings: list[CheckFinding]

    @property
    def summary(self) -> str:  # noqa: D102
        return f"{len(self.findings)} checks, all ok"


def _listing(values: dict[str, Any]) -> str:
    numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
    return ", ".join(f"{name} {value:.3f}" for name, value in numbers.items())
