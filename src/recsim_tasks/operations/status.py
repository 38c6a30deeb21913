"""How fresh the served release is, and which release was in Production when."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from recsim_tasks.contracts import (
    ChampionStatus,
    FeedReleaseResult,
    Lag,
    ProductionPeriod,
    ReleasesResult,
    StatusResult,
)
from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.settings import Settings

if TYPE_CHECKING:
    from recsim_tasks.catalogue.delta.feed_commits import FeedCommit
    from recsim_tasks.contracts import Cursor
    from recsim_tasks.release.registry.references import ReleaseRef


def status(settings: Settings) -> StatusResult:
    """The release in Production, and how far the catalogue is ahead of it."""
    from recsim_tasks.catalogue.delta.reader import head
    from recsim_tasks.release.registry.client import Registry
    from recsim_tasks.release.registry.promotion import Promotions

    registry = Registry(settings)
    newest, production = head(settings.products_uri), registry.production()
    champion, release = None, production.release
    if release:
        champion = ChampionStatus(
            version=release.version,
            cursor=release.cursor,
            size=release.size,
            model_fingerprint=release.model_fingerprint,
        )
    return StatusResult(
        champion=champion,
        head=newest,
        behind=_lag(settings, release.cursor, newest) if release and newest else None,
        frozen=Promotions(registry).freeze(),
        problem=production.problem,
    )


def releases(settings: Settings) -> ReleasesResult:
    """Which release was in Production when, oldest first."""
    from recsim_tasks.release.registry.client import Registry
    from recsim_tasks.release.registry.promotion import Promotions

    return ReleasesResult(releases=Promotions(Registry(settings)).history())


def release_of_feed(settings: Settings, feed_id: str) -> FeedReleaseResult:
    """Which version of the catalogue took a feed in, and which release served it first."""
    from recsim_tasks.catalogue.delta.reader import head
    from recsim_tasks.release.registry.client import Registry
    from recsim_tasks.release.registry.promotion import Promotions

    registry, newest = Registry(settings), head(settings.products_uri)
    commit = _commit(settings, feed_id) if newest else None
    versions = _versions_with(registry.references(), feed_id, commit, newest)
    if not commit and not versions:
        raise InputError(
            f"Neither a commit of {settings.products_uri} nor a release names the feed {feed_id!r}. "
            "It was not taken in, or both were removed."
        )
    periods = Promotions(registry).history()
    return FeedReleaseResult(
        feed_id=feed_id,
        catalogue_version=commit.version if commit else None,
        taken_in=commit.at if commit else None,
        first_served=_first(periods, versions),
    )


def _commit(settings: Settings, feed_id: str) -> FeedCommit | None:
    from recsim_tasks.catalogue.delta.feed_commits import feed_commits

    commits = feed_commits(settings.products_uri)
    return next((commit for commit in commits if commit.feed_id == feed_id), None)


def _versions_with(
    references: list[ReleaseRef], feed_id: str, commit: FeedCommit | None, newest: Cursor | None
) -> set[int]:
    """The releases that have a feed: they name it, or reflect the catalogue at or after its commit."""
    versions = {ref.version for ref in references if feed_id in ref.feeds}
    if commit and newest:
        versions |= {
            ref.version
            for ref in references
            if ref.cursor.table_id == newest.table_id and ref.cursor.version >= commit.version
        }
    return versions


def _first(periods: list[ProductionPeriod], versions: set[int]) -> ProductionPeriod | None:
    return next((period for period in periods if period.version in versions), None)


def _lag(settings: Settings, cursor: Cursor, head: Cursor) -> Lag:
    """Versions that the champion does not have yet, and the age of the oldest.

    None if the table is another one.
    """
    from recsim_tasks.catalogue.delta.reader import committed_at

    if cursor.table_id != head.table_id:
        return Lag(versions=None, seconds=None)
    versions = head.version - cursor.version
    age = time.time() - committed_at(settings.products_uri, cursor.version + 1) if versions > 0 else 0.0
    return Lag(versions=versions, seconds=round(age, 1))
