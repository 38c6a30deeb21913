"""What waits in the triggerer: for a commit of a table, and for feeds to land."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent

from recsim_airflow.commits import decide, table_head
from recsim_tasks.catalogue.feed import MANIFEST, closed_feeds

if TYPE_CHECKING:
    from airflow.sdk.execution_time.context import AssetStateStoreAccessors

ANNOUNCED = "announced"
# The triggerer stores an event within two seconds after it was yielded. The cursor must not move before.
STORING_SECONDS = 2.5
LONGEST_BACK_OFF = 300.0

Feeds = dict[str, str]


class DeltaCommitTrigger(BaseTrigger):
    """Fires once, when the wait for a commit is over, for good or ill; the event is the table's head.

    :param table_uri: the table's location
    :param min_version: the version to wait for
    :param poll_interval: seconds between two looks
    """

    def __init__(self, *, table_uri: str, min_version: int, poll_interval: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.table_uri = table_uri
        self.min_version = min_version
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Tell the triggerer how to build this trigger."""
        names = ("table_uri", "min_version", "poll_interval")
        return f"{__name__}.DeltaCommitTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is something to say; what a look raises fails the task, whose retries look again."""
        while True:
            head = await asyncio.to_thread(table_head, self.table_uri)
            if head and decide(self.table_uri, head, self.min_version).kind != "wait":
                yield TriggerEvent(asdict(head))
                return
            await asyncio.sleep(self.poll_interval)


class FeedManifestTrigger(BaseEventTrigger):
    """Fires when closed feeds lie in the inbox that were not announced yet, and again while they still lie there.

    The event means "there are feeds to take in", not "take in this one": it may come twice or for several feeds at once,
    and whoever hears it takes in the whole inbox. A feed is closed by its manifest, which is written last; folders
    whose name begins with a dot are still being written.

    :param asset_name: the asset that this trigger watches; it keeps two assets from sharing one trigger and one cursor
    :param inbox: folder in which feeds land
    :param poll_interval: seconds between two looks
    :param reannounce_after: seconds after which feeds that are still there are announced again
    """

    def __init__(self, *, asset_name: str, inbox: str, poll_interval: float = 2.0, reannounce_after: float = 3600.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.asset_name = asset_name
        self.inbox = inbox
        self.poll_interval = poll_interval
        self.reannounce_after = reannounce_after

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Tell the triggerer how to build this trigger."""
        names = ("asset_name", "inbox", "poll_interval", "reannounce_after")
        return f"{__name__}.FeedManifestTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look for ever. Airflow restarts a trigger that raises without telling anybody, so faults are logged and outwaited."""
        pause = self.poll_interval
        while True:
            try:
                feeds, due = await self._look()
                pause = self.poll_interval
            except Exception as error:
                feeds, due = {}, False
                pause = min(pause * 2, LONGEST_BACK_OFF)
                self.log.warning("The inbox %s cannot be watched, next look in %.0f s: %s", self.inbox, pause, error)
            if due:
                yield TriggerEvent({"inbox": self.inbox, "feeds": sorted(feeds)})
                await asyncio.sleep(STORING_SECONDS)
                await self._remember(feeds)
            await asyncio.sleep(pause)

    async def _look(self) -> tuple[Feeds, bool]:
        feeds = await asyncio.to_thread(marked_feeds, Path(self.inbox))
        announced = await self._cursor().aget(ANNOUNCED)
        return feeds, announcement_due(feeds, announced if isinstance(announced, dict) else {}, time.time(), self.reannounce_after)

    async def _remember(self, feeds: Feeds) -> None:
        try:
            await self._cursor().aset(ANNOUNCED, {"feeds": {**feeds}, "at": time.time()})
        except Exception as error:
            self.log.warning("The announcement of %s could not be noted and will be repeated: %s", ", ".join(feeds), error)

    def _cursor(self) -> AssetStateStoreAccessors:
        """The asset's state store, which outlives this trigger and the triggerer."""
        if self.asset_state_store is None:
            raise RuntimeError("no triggerer has given this trigger its asset's state store")
        return self.asset_state_store


def marked_feeds(inbox: Path) -> Feeds:
    """The closed feeds of `inbox`, each folder's name with a mark of its manifest: delivered again, it has another mark."""
    manifests = ((folder.name, (folder / MANIFEST).stat()) for folder in closed_feeds(inbox))
    return {name: f"{stat.st_ino}-{stat.st_mtime_ns}" for name, stat in manifests}


def announcement_due(feeds: Feeds, announced: dict[str, Any], now: float, reannounce_after: float) -> bool:
    """Say whether `feeds` hold one that was not announced, or were announced `reannounce_after` seconds ago and still are there."""
    said = announced.get("feeds", {})
    if any(said.get(name) != mark for name, mark in feeds.items()):
        return True
    return bool(feeds) and now - announced.get("at", 0) > reannounce_after
