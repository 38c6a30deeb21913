"""The inbox: feeds that have landed, taken in order of arrival and moved aside once they are dealt with."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from recsim_tasks.catalogue.delta.reader import head
from recsim_tasks.catalogue.delta.writer import told_by_commits
from recsim_tasks.catalogue.feeds.decisions import Answer
from recsim_tasks.catalogue.feeds.feed import Feed, open_feed
from recsim_tasks.catalogue.feeds.ingest import COUNTS, Order, apply_feed, check_before, was_applied
from recsim_tasks.catalogue.feeds.listing import Stray, closed_feeds, strays
from recsim_tasks.catalogue.feeds.on_hold import forget_held
from recsim_tasks.catalogue.feeds.transfer import APPLIED, REFUSED, at_hand, move_aside, notes
from recsim_tasks.foundation.errors import InputError, OnHoldError, RecsimError
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.outages import outage_behind
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.foundation.spark import spark_session
from recsim_tasks.foundation.text import one_line

log = logging.getLogger(__name__)


@dataclass
class _Round:
    """One pass over the inbox, and what has come of it so far."""

    settings: Settings
    order: Order
    answer: Answer | None
    stack: ExitStack
    results: list[dict[str, Any]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)
    answered: bool = False

    def take(self, folder: Path) -> None:
        """Deal with one feed: apply it, or move it aside; `OnHoldError` leaves it where it is."""
        try:
            with at_hand(self.settings, folder) as here:
                _check_lies_here(here)
                feed = open_feed(here)
                order = self._order(feed, folder)
                if order is not None:
                    self.results.append(self._apply(feed, order))
        except InputError as error:
            if outage := outage_behind(error, str(folder)):
                raise outage from error
            self._refuse(folder, error)
        except FileNotFoundError:
            if _is_there(folder):
                raise
            log.info(f"Feed {folder.name} went away after it was found, and is passed over.")
        else:
            if order is not None:
                self._move(folder, APPLIED)

    def _order(self, feed: Feed, folder: Path) -> Order | None:
        """How to apply the feed, after what was answered; None when it was refused and moved aside."""
        if self.answer is None or not self.answer.means(feed.feed_id, feed.digest):
            return self.order
        self.answered = True
        if self.answer.accepts:
            return replace(self.order, accepted_by=self.answer.by)
        reason = f"Feed {feed.feed_id} was refused by {self.answer.by}."
        log.info(reason)
        note = {
            "reason": reason,
            "feed_id": feed.feed_id,
            "digest": feed.digest,
            "by": self.answer.by,
            "at": time.time(),
        }
        self._move(folder, REFUSED, note)
        forget_held(self.settings, feed.feed_id)
        return None

    def _apply(self, feed: Feed, order: Order) -> dict[str, Any]:
        """Apply in one Spark session for all feeds of the round, begun when the first of them needs it."""
        if not was_applied(self.settings, feed):
            self.stack.enter_context(spark_session(self.settings, "recsim ingest"))
        return apply_feed(self.settings, feed, order)

    def _refuse(self, folder: Path, error: InputError) -> None:
        if not _is_there(folder):
            log.info(f"Feed {folder.name} went away after it was found, and is passed over.")
            return
        self.refused.append(str(error))
        log.info(f"Refused: {error}")
        self._move(folder, REFUSED, {"reason": str(error)})

    def _move(self, folder: Path, where: str, note: dict[str, Any] | None = None) -> None:
        """Move a feed aside that was dealt with; one that cannot be moved stops no other, and is named at the end."""
        try:
            move_aside(folder, where, note)
        except OSError as error:
            self.stuck.append(f"{one_line(folder)} cannot be moved to {where}: {error.strerror or error}.")
            log.info(self.stuck[-1])

    def result(self) -> dict[str, Any]:
        """The sum, with one entry a feed in `feeds`."""
        now = head(self.settings.products_uri)
        sums = {name: sum(result[name] for result in self.results) for name in COUNTS}
        rows = sum(sums.values())
        return {
            "feed_id": ", ".join(result["feed_id"] for result in self.results) or None,
            "applied": any(result["applied"] for result in self.results),
            **sums,
            "quarantined_share": round(sums["quarantined"] / rows, 4) if rows else 0.0,
            "table_version": now.version if now else None,
            "feeds": self.results,
            "ignored": [stray._asdict() for stray in self.strays],
        }


def ingest_inbox(
    settings: Settings, order: Order | None = None, answer: Answer | None = None
) -> dict[str, Any]:
    """Apply every closed feed; the result sums up, with one entry a feed in `feeds`.

    A feed that cannot be used goes to `.refused` with the reason, the others go on; at the end `InputError` says which it was, so that
    somebody looks. A feed that a guard holds (`OnHoldError`) stays where it is, and so do those after it: their order matters. An `answer`
    takes it in all the same, or moves it to `.refused`. What lies there and is no feed is named, and stops nothing.
    """
    with lease(settings.home, f"inbox {settings.inbox_dir}"), ExitStack() as stack:
        this = _Round(settings, order or Order(), answer, stack)
        this.strays = strays(settings.inbox_dir)
        for stray in this.strays:
            log.info(f"{stray.name} in the inbox {settings.inbox_dir} is no feed: it {stray.reason}.")
        folders = closed_feeds(settings.inbox_dir)
        if folders:
            check_before(settings)  # what is wrong with the catalogue is no feed's fault
        try:
            for folder in folders:
                this.take(folder)
        except OnHoldError as error:
            raise OnHoldError(
                " ".join([str(error), *this.refused, *this.stuck]), {**this.result(), **error.result}
            ) from error
        if this.stuck:
            raise RecsimError(
                f"{' '.join([*this.refused, *this.stuck])} Make {settings.inbox_dir} writable, with nothing but folders under "
                f"{APPLIED} and {REFUSED}; {len(this.results)} feeds were taken in, and none is applied twice."
            )
        if this.refused:
            raise InputError(
                f"{' '.join(this.refused)} It now lies in {settings.inbox_dir / REFUSED}; {len(this.results)} other feeds were taken in. Clear this task to go on without it."
            )
        if answer is not None and not this.answered and not _was_answered(settings, answer):
            raise InputError(
                f"No feed of the inbox {settings.inbox_dir} is {answer.feed!r}, and none was. `recsim ingest` names the feed that waits."
            )
        return this.result()


def _check_lies_here(folder: Path) -> None:
    """`InputError` for a feed that lies elsewhere, behind a link: what is moved aside must be the feed itself."""
    if folder.is_symlink():
        raise InputError(f"{one_line(folder)} is a symbolic link. Deliver the folder itself.")


def _is_there(folder: Path) -> bool:
    return folder.is_symlink() or folder.exists()


def _was_answered(settings: Settings, answer: Answer) -> bool:
    """Whether an earlier try of this very command came through: then there is nothing left to answer."""
    told = told_by_commits(settings.products_uri) if answer.accepts else notes(settings.inbox_dir, REFUSED)
    return any(answer.means(entry.get("feed_id", ""), entry.get("digest", "")) for entry in told)
