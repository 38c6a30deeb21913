"""Triggers: `DeltaChangeDataFeedTrigger` waits for one task, the two asset triggers start refreshes.

Wiring of an asset trigger:

.. code-block:: python

    trigger = FeedManifestTrigger(asset_name="inbox", inbox="s3://bucket/inbox", conn_id="lake")
    inbox = Asset("inbox", watchers=[AssetWatcher(name="closed_feeds", trigger=trigger)])
    with DAG("recsim_refresh", schedule=[inbox]): ...

An event of an asset trigger means "there is something to take in", not "take in this one". It may come twice,
or once for several feeds or commits; a refresh takes in everything that it finds. What was announced is in
the asset's state store, which outlives the triggerer and a pause of the DAG.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent
from pydantic import JsonValue

from recsim_airflow.announcements import FeedAnnouncement, announcement_due, closed_feed_marks, repeat_after
from recsim_airflow.asset_state import ANNOUNCED, COMMITTED, REFRESH_STARTED
from recsim_airflow.commits import LastLook, VersionCondition, wait_status
from recsim_airflow.hooks import DeltaTableHook, InboxHook
from recsim_tasks.contracts import Cursor

if TYPE_CHECKING:
    from airflow.sdk.execution_time.context import AssetStateStoreAccessors

# The triggerer stores an event within two seconds. The state store must not be ahead of it.
EVENT_STORED_SECONDS = 2.5
MAX_POLL_SECONDS = 60.0

Payload = dict[str, JsonValue]
"""What an event carries, or what the asset's state store keeps."""


class DeltaChangeDataFeedTrigger(BaseTrigger):
    """Fires once, when the wait for a commit is over.

    The event has the table's `head` (`table_id`, `version`, `change_feed`), or an `error`: a table that
    cannot be read ends the wait, so that the sensor fails and its retry looks again.

    :param table_uri: the table's location
    :param min_version: the version to wait for; None waits for the first one after the cursor
    :param after: the cursor up to which the table is known, in its JSON form
    :param poll_interval: seconds between two looks
    :param conn_id: Airflow connection with the credentials of the table's object store
    """

    def __init__(
        self,
        *,
        table_uri: str,
        min_version: int | None,
        after: dict[str, str | int] | None,
        poll_interval: float,
        conn_id: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.table_uri = table_uri
        self.min_version = min_version
        self.after = after
        self.poll_interval = poll_interval
        self.conn_id = conn_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, from which the triggerer builds this trigger."""
        names = ("table_uri", "min_version", "after", "poll_interval", "conn_id")
        return f"{__name__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look at the table until the condition holds or cannot hold."""
        hook = DeltaTableHook(self.table_uri, self.conn_id)
        after = Cursor.from_json(self.after) if self.after else None
        condition = VersionCondition(self.min_version, after)
        try:
            while True:
                head = await hook.aget_head()
                if head and wait_status(self.table_uri, head, condition).kind != "wait":
                    yield TriggerEvent({"head": asdict(head)})
                    return
                await asyncio.sleep(self.poll_interval)
        except Exception as error:
            yield TriggerEvent({"error": str(error) or type(error).__name__})


class AssetTrigger(BaseEventTrigger):
    """Looks, announces what is new, records the announcement, and never ends.

    After a start it announces everything that waits, recorded or not: between the moment when a DAG is paused
    and the moment when its triggers are stopped, Airflow takes their events and drops them (seen with 3.3.2).

    :param asset_name: the asset that this trigger watches; two assets never share one trigger and one record
    :param poll_interval: seconds between two looks; after an error twice as many each time, a minute at most
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
        self.first_look = True

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, from which the triggerer builds this trigger."""
        return f"{__name__}.{type(self).__name__}", {name: getattr(self, name) for name in self.fields}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until the trigger is stopped.

        Airflow restarts a trigger that raises, without notice: errors are logged here, and the next look is
        later.
        """
        pause = self.poll_interval
        while True:
            try:
                event, record = await self.look()
                pause, self.first_look = self.poll_interval, False
            except Exception as error:
                event, record = None, None
                pause = min(pause * 2, MAX_POLL_SECONDS)
                self.log.warning("Cannot watch %s, next look in %.0f s: %s", self.asset_name, pause, error)
            if event is not None:
                yield TriggerEvent(event)
                await asyncio.sleep(EVENT_STORED_SECONDS)
            if record is not None:
                await self._record(record)
            await asyncio.sleep(pause)

    @abstractmethod
    async def look(self) -> tuple[Payload | None, Payload | None]:
        """An event's payload to announce now, and what to record in the state store after it; or None."""

    async def read_state(self, key: str) -> dict[str, Any]:
        """A value of the asset's state store; empty if there is none."""
        value = await self._store().aget(key)
        return dict(value) if isinstance(value, dict) else {}

    async def _record(self, record: Payload) -> None:
        try:
            await self._store().aset(ANNOUNCED, record)
        except Exception as error:
            self.log.warning(
                "Cannot record what was announced of %s, it will be announced again: %s",
                self.asset_name,
                error,
            )

    def _store(self) -> AssetStateStoreAccessors:
        if self.asset_state_store is None:
            raise RuntimeError("This trigger has no asset state store: only a triggerer can run it.")
        return self.asset_state_store


class FeedManifestTrigger(AssetTrigger):
    """Announces the closed feeds of the inbox: a new one at once, and all again while they are still there.

    The manifest, which is written last, closes a feed. Folders whose name begins with a dot are ignored.
    The event has the `inbox` and the folder names of its `feeds`.

    An announcement is repeated after a minute, then after twice as long each time, until a refresh has
    started since, which it records in the state store; from then on every `reannounce_after` seconds.

    :param inbox: folder in which feeds land, or its URI in an object store
    """

    fields = (*AssetTrigger.fields, "inbox")

    def __init__(
        self, *, inbox: str, poll_interval: float = 2.0, reannounce_after: float = 3600.0, **kwargs: Any
    ) -> None:
        super().__init__(poll_interval=poll_interval, reannounce_after=reannounce_after, **kwargs)
        self.inbox = inbox
        self._path: Path | None = None

    async def look(self) -> tuple[Payload | None, Payload | None]:
        """Compare the closed feeds with the announced ones."""
        announced = cast(FeedAnnouncement, await self.read_state(ANNOUNCED))
        refresh_started = float((await self.read_state(REFRESH_STARTED)).get("at", 0))
        feeds = await self._closed_feeds()
        now = time.time()
        due = announcement_due(feeds, announced, refresh_started, now=now, longest=self.reannounce_after)
        if not due and not (self.first_look and feeds):
            return None, None
        again_after = repeat_after(feeds, announced, self.reannounce_after)
        event: Payload = {"inbox": self.inbox, "feeds": [*feeds]}
        return event, {"feeds": {**feeds}, "at": now, "again_after": again_after}

    async def _closed_feeds(self) -> dict[str, str]:
        if self._path is None:
            self._path = await InboxHook(self.inbox, self.conn_id).aget_path()
        try:
            return await asyncio.to_thread(closed_feed_marks, self._path)
        except Exception:
            self._path = None  # the connection may have changed: the next look opens the inbox again
            raise


class CatalogueCommitTrigger(AssetTrigger):
    """Announces commits of other writers to the catalogue, and a catalogue that stays ahead of the release.

    The event has the `table_uri` and the head: `table_id` and `version`. Up to where the release reflects the
    catalogue is in the state store, recorded by the refresh. A release that is behind is announced less often
    than a feed: when the gate rejects it, every refresh would train in vain.

    :param table_uri: the catalogue's location
    """

    fields = (*AssetTrigger.fields, "table_uri")

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

    async def look(self) -> tuple[Payload | None, Payload | None]:
        """Read the commits since the last look."""
        last, recorded = (
            LastLook.from_json(await self.read_state(ANNOUNCED)),
            await self.read_state(COMMITTED),
        )
        committed = Cursor.from_json(recorded) if recorded else None
        hook = DeltaTableHook(self.table_uri, self.conn_id)
        changes = await hook.aget_changes([last.cursor if last else None, committed])
        if changes is None:
            return None, None
        now, reannounce_after = time.time(), 0 if self.first_look else self.reannounce_after
        announce, record = changes.due(last, committed, now=now, reannounce_after=reannounce_after)
        head = changes.head.as_json()
        event: Payload | None = {"table_uri": self.table_uri, **head} if announce else None
        return event, {**head, "at": now} if record else None
