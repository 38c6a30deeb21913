"""Results of jobs outside a refresh: `status`, `releases`, `query`, `maintain` and `doctor`."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from recsim_tasks.contracts.base import Cursor, JobResult, Record
from recsim_tasks.contracts.release_results import Freeze


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
        return (
            f"release {self.champion.version} is in Production"
            if self.champion
            else "no release is in Production"
        )


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
    results: list[dict[str, str | float | bool | None]]
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
