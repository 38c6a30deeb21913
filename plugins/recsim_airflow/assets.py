"""The assets that start and end a refresh. Their URIs are names: the locations are settings."""

from __future__ import annotations

from airflow.sdk import Asset, AssetWatcher

from recsim_airflow.hooks import storage_conn_id
from recsim_airflow.triggers import CatalogueCommitTrigger, FeedManifestTrigger
from recsim_tasks.foundation.settings import Settings

FEED_INBOX = "recsim_feed_inbox"
CATALOGUE_COMMITS = "recsim_catalogue_commits"
# Seconds between two looks. A look at an object store lists every file of the inbox, and listings cost money.
LOCAL_POLL, REMOTE_POLL = 2.0, 15.0

CATALOGUE = Asset("recsim_catalogue", uri="x-recsim://catalogue", group="recsim")
RELEASE = Asset("recsim_release", uri="x-recsim://release", group="recsim")


def feed_inbox(settings: Settings) -> Asset:
    """The inbox, updated whenever it has closed feeds."""
    inbox = str(settings.inbox_dir)
    poll = REMOTE_POLL if "://" in inbox else LOCAL_POLL
    trigger = FeedManifestTrigger(
        asset_name=FEED_INBOX, inbox=inbox, poll_interval=poll, conn_id=storage_conn_id()
    )
    return Asset(
        FEED_INBOX,
        uri="x-recsim://feed-inbox",
        group="recsim",
        watchers=[AssetWatcher(name="closed_feeds", trigger=trigger)],
    )


def catalogue_commits(settings: Settings) -> Asset:
    """The catalogue, updated by commits of other writers.

    Not the asset that a refresh updates: a refresh would start the next one by its own commits.
    """
    trigger = CatalogueCommitTrigger(
        asset_name=CATALOGUE_COMMITS, table_uri=settings.products_uri, conn_id=storage_conn_id()
    )
    watcher = AssetWatcher(name="foreign_commits", trigger=trigger)
    return Asset(CATALOGUE_COMMITS, uri="x-recsim://catalogue-commits", group="recsim", watchers=[watcher])
