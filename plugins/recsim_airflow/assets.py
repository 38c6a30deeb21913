"""The assets that DAGs hear of and tell of. Their addresses name no place: the settings do."""

from __future__ import annotations

from pathlib import Path

from airflow.sdk import Asset, AssetWatcher

from recsim_airflow.triggers import FeedManifestTrigger

FEED_INBOX = "recsim_feed_inbox"

CATALOGUE = Asset("recsim_catalogue", uri="x-recsim://catalogue", group="recsim")
RELEASE = Asset("recsim_release", uri="x-recsim://release", group="recsim")


def feed_inbox(inbox: Path) -> Asset:
    """The inbox as an asset that is updated whenever feeds lie in it."""
    trigger = FeedManifestTrigger(asset_name=FEED_INBOX, inbox=str(inbox))
    return Asset(FEED_INBOX, uri="x-recsim://feed-inbox", group="recsim", watchers=[AssetWatcher(name="closed_feeds", trigger=trigger)])
