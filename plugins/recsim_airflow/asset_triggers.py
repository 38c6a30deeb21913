"""What watches assets in the triggerer: feeds that land, and commits that others make.

An event means "there is something to take in", not "take in this": it may come twice or for several things at once, and whoever hears it
takes in all there is. What was announced is in the asset's state store, which outlives the triggerer and a pause of the DAG.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from recsim_airflow.asset_state import COMMITTED, HEARD
from recsim_airflow.commits import LastLook, table_changes
from recsim_airflow.storage import acredentials, delta_options, open_inbox
from recsim_tasks.catalogue.feeds.listing import closed_feeds, mark_of
from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.text import one_line

if TYPE_CHECKING:
    from airflow.sdk.execution_time.context import AssetStateStoreAccessors

ANNOUNCED = "announced"
# The triggerer stores an event within two seconds after it was yielded. The cursor must not move before.
STORING_SECONDS = 2.5
# An event that came while the DAG was paused was heard by nobody; a pause may be too short for the watcher to be started anew after it.
SOON_AGAIN = 60.0
# So that what could not be read for a while is heard of within a minute after.
LONGEST_BACK_OFF = 60.0

Feeds = dict[str, str]
Said = dict[str, Any]


class Watcher(BaseEventTrigger):
    """Looks, announces, notes what it announced, and goes on for ever, whatever happens.

    One that has just started announces whatever waits, noted or not: between the moment a DAG is paused and the moment its watchers
    are gone, Airflow takes their events and drops them (tried with 3.3.2).

    :param asset_name: the asset that this trigger watches; it keeps two assets from sharing one trigger and one cursor
    :param poll_interval: seconds between two looks
    :param reannounce_after: seconds after which what still waits is announced again
    :param conn_id: Airflow connection with the credentials of the object store
    """

    fields: tuple[str, ...] = ("asset_name", "poll_interval", "reannounce_after", "conn_id")

    def __init__(
        self, *, asset_name: str, poll_interval: float, reannounce_after: float, conn_id: str | None = None
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.asset_name = asset_name
        self.poll_interval = poll_interval
        self.reannounce_after = reannounce_after
        self.conn_id = conn_id
        self.started = True  # until the first look

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Tell the triggerer how to build this trigger."""
        return f"{__name__}.{type(self).__name__}", {name: getattr(self, name) for name in self.fields}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look for ever. Airflow restarts a trigger that raises without telling anybody, so faults are logged and outwaited."""
        pause = self.poll_interval
        while True:
            try:
                said, note = await self.look()
                pause, self.started = self.poll_interval, False
            except Exception as error:
                said, note = None, None
                pause = min(pause * 2, LONGEST_BACK_OFF)
                self.log.warning(
                    "%s cannot be watched, next look in %.0f s: %s", self.asset_name, pause, error
                )
            if said is not None:
                yield TriggerEvent(said)
                await asyncio.sleep(STORING_SECONDS)
            if note is not None:
                await self._remember(note)
            await asyncio.sleep(pause)

    @abstractmethod
    async def look(self) -> tuple[Said | None, Said | None]:
        """What to announce now, and what to note under `announced` once that is done; None for nothing."""

    async def noted(self, key: str) -> Said:
        """What is in the asset's state store; empty where nothing is."""
        value = await self._store().aget(key)
        return dict(value) if isinstance(value, dict) else {}

    async def _remember(self, note: Said) -> None:
        try:
            await self._store().aset(ANNOUNCED, note)
        except Exception as error:
            self.log.warning(
                "What was announced of %s could not be noted and will be repeated: %s", self.asset_name, error
            )

    def _store(self) -> AssetStateStoreAccessors:
        if self.asset_state_store is None:
            raise RuntimeError("no triggerer has given this trigger its asset's state store")
        return self.asset_state_store


class FeedManifestTrigger(Watcher):
    """Announces closed feeds that lie in the inbox and were not announced yet, and again while they still lie there.

    Again after `reannounce_after` seconds; but after a minute, and then ever more rarely, where no refresh has begun since: it has left its
    time in the state store under `heard`.

    :param inbox: folder in which feeds land, or its URI in an object store

    A feed is closed by its manifest, which is written last; folders whose name begins with a dot are none of ours.
    """

    fields = (*Watcher.fields, "inbox")

    def __init__(
        self, *, inbox: str, poll_interval: float = 2.0, reannounce_after: float = 3600.0, **kwargs: Any
    ) -> None:
        super().__init__(poll_interval=poll_interval, reannounce_after=reannounce_after, **kwargs)
        self.inbox = inbox
        self._place: Path | None = None

    async def look(self) -> tuple[Said | None, Said | None]:
        """Compare the feeds of the inbox with those that were announced."""
        announced, heard = await self.noted(ANNOUNCED), await self.noted(HEARD)
        if self._place is None:
            given = await acredentials(self.conn_id)
            self._place = await asyncio.to_thread(open_inbox, self.inbox, self.conn_id, given)
        try:
            feeds = await asyncio.to_thread(marked_feeds, self._place)
        except Exception:
            self._place = None  # perhaps the connection is another one by now
            raise
        if not announcement_due(feeds, announced, heard, time.time(), self.reannounce_after) and not (
            self.started and feeds
        ):
            return None, None
        wait = next_wait(feeds, announced, self.reannounce_after)
        return {"inbox": self.inbox, "feeds": list(feeds)}, {
            "feeds": feeds,
            "at": time.time(),
            "again_after": wait,
        }


class CatalogueCommitTrigger(Watcher):
    """Announces commits by which somebody other than a refresh changes the catalogue, and a catalogue that stays ahead of the release.

    :param table_uri: the catalogue's location

    How far the release reflects the catalogue is in the state store under `committed`, noted by the refresh. A release that is behind is
    not announced as often as a feed that waits: a gate may hold the release, and then every refresh would train in vain.
    """

    fields = (*Watcher.fields, "table_uri")

    def __init__(
        self,
        *,
        table_uri: str,
        poll_interval: float = 5.0,
        reannounce_after: float = 6 * 3600.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(poll_interval=poll_interval, reannounce_after=reannounce_after, **kwargs)
        self.table_uri = table_uri

    async def look(self) -> tuple[Said | None, Said | None]:
        """Read the commits that are new since the last look."""
        last, noted = LastLook.from_json(await self.noted(ANNOUNCED)), await self.noted(COMMITTED)
        committed = Cursor.from_json(noted) if noted else None
        known = [last.cursor if last else None, committed]
        options = delta_options(await acredentials(self.conn_id))
        changes = await asyncio.to_thread(table_changes, self.table_uri, known, options)
        if changes is None:
            return None, None
        reannounce_after = 0 if self.started else self.reannounce_after
        announce, note = changes.due(last, committed, now=time.time(), reannounce_after=reannounce_after)
        head = changes.head.as_json()
        return ({"table_uri": self.table_uri, **head} if announce else None), (
            {**head, "at": time.time()} if note else None
        )


def marked_feeds(inbox: Path) -> Feeds:
    """The closed feeds of `inbox` in order of arrival, each folder's name with a mark of its manifest: delivered again, it has another."""
    marks = {}
    for folder in closed_feeds(inbox):
        with suppress(FileNotFoundError):  # taken in, or taken back, since it was listed
            marks[one_line(folder.name)] = mark_of(folder)  # a database takes no half characters
    return marks


def announcement_due(feeds: Feeds, announced: Said, heard: Said, now: float, longest: float) -> bool:
    """Whether `feeds` hold one that was not announced, or still lie there although they were: `longest` seconds ago, or without effect."""
    if not feeds or _has_news(feeds, announced):
        return bool(feeds)
    again_after = longest if heard.get("at", 0) > announced["at"] else announced.get("again_after", longest)
    return bool(now - announced["at"] > again_after)


def next_wait(feeds: Feeds, announced: Said, longest: float) -> float:
    """Seconds after which `feeds`, announced now, are announced again unless a refresh begins: twice as many each time."""
    return min(longest, SOON_AGAIN if _has_news(feeds, announced) else 2 * announced.get("again_after", 0))


def _has_news(feeds: Feeds, announced: Said) -> bool:
    said = announced.get("feeds", {})
    return any(said.get(name) != mark for name, mark in feeds.items())
