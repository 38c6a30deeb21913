"""Ingest the inbox: apply its feeds in order of arrival, and move each aside when it is done."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from recsim_tasks.catalogue.delta.writer import recent_commit_metadata
from recsim_tasks.catalogue.feeds.decisions import FeedDecision
from recsim_tasks.catalogue.feeds.feed import Feed, open_feed
from recsim_tasks.catalogue.feeds.ingest import (
    ApplyOptions,
    IngestRequest,
    apply_feed,
    check_catalogue_ready,
    sum_up,
    was_applied,
)
from recsim_tasks.catalogue.feeds.listing import closed_feeds, stray_entries
from recsim_tasks.catalogue.feeds.on_hold import clear_hold
from recsim_tasks.catalogue.feeds.transfer import (
    APPLIED,
    REFUSED,
    RefusalNote,
    local_copy,
    move_aside,
    read_notes,
)
from recsim_tasks.contracts import FeedResult, IngestResult, StrayEntry
from recsim_tasks.foundation.errors import InputError, OnHoldError, RecsimError
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.outages import outage_behind
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.foundation.spark import spark_session
from recsim_tasks.foundation.text import one_line

log = logging.getLogger(__name__)


@dataclass
class _Pass:
    """One pass over the inbox, and its results so far."""

    settings: Settings
    request: IngestRequest
    stack: ExitStack
    strays: list[StrayEntry] = field(default_factory=list)
    results: list[FeedResult] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    """Why feeds were refused."""
    stuck: list[str] = field(default_factory=list)
    """Which feeds could not be moved aside, and why."""
    decided: bool = False
    """Whether the feed of the request's decision was found."""

    def ingest(self, folder: Path) -> None:
        """Apply one feed or refuse it; `OnHoldError` leaves it in the inbox."""
        try:
            with local_copy(self.settings, folder) as local:
                _check_not_a_link(local)
                feed = open_feed(local)
                refused = self._refused_by_decision(feed, folder)
                if not refused:
                    self.results.append(self._apply(feed))
        except InputError as error:
            if outage := outage_behind(error, str(folder)):
                raise outage from error
            self._refuse(folder, error)
        except FileNotFoundError:
            if _exists(folder):
                raise
            _log_vanished(folder)
        else:
            if not refused:
                self._move(folder, APPLIED)

    def _refused_by_decision(self, feed: Feed, folder: Path) -> bool:
        """Return whether the request's decision refuses the feed, which is then moved aside."""
        decision = self.request.decision
        if decision is None or not decision.matches(feed.feed_id, feed.digest):
            return False
        self.decided = True
        if decision.accepts:
            return False
        reason = f"Feed {feed.feed_id} was refused by {decision.by}."
        log.info("%s", reason)
        note = RefusalNote(
            reason=reason, feed_id=feed.feed_id, digest=feed.digest, by=decision.by, at=time.time()
        )
        self._move(folder, REFUSED, note)
        clear_hold(self.settings, feed.feed_id)
        return True

    def _apply(self, feed: Feed) -> FeedResult:
        """Apply in one Spark session for all feeds of the pass, started for the first that needs it."""
        if not was_applied(self.settings, feed):
            self.stack.enter_context(spark_session(self.settings, "recsim ingest"))
        decision = self.request.decision
        accepts = decision is not None and decision.accepts and decision.matches(feed.feed_id, feed.digest)
        accepted_by = decision.by if decision and accepts else None
        return apply_feed(
            self.settings, feed, ApplyOptions(refresh=self.request.refresh, accepted_by=accepted_by)
        )

    def _refuse(self, folder: Path, error: InputError) -> None:
        if not _exists(folder):
            _log_vanished(folder)
            return
        self.refusals.append(str(error))
        log.warning("Refused: %s", error)
        self._move(folder, REFUSED, RefusalNote(reason=str(error)))

    def _move(self, folder: Path, where: str, note: RefusalNote | None = None) -> None:
        """Move a feed aside; one that cannot be moved does not stop the others and is reported at the end."""
        try:
            move_aside(folder, where, note)
        except OSError as error:
            self.stuck.append(f"{one_line(folder)} cannot be moved to {where}: {error.strerror or error}.")
            log.warning("%s", self.stuck[-1])

    @property
    def result(self) -> IngestResult:
        """The result of the pass so far."""
        return sum_up(self.settings, self.results, self.strays)


def ingest_inbox(settings: Settings, request: IngestRequest | None = None) -> IngestResult:
    """Apply every closed feed of the inbox.

    A bad feed moves to `.refused` with the reason and does not stop the others; `InputError` reports it at
    the end. If a guard puts a feed on hold (`OnHoldError`), it stays in the inbox with those behind it, since
    their order matters. The request's decision accepts that feed or moves it to `.refused`. Entries that are
    not feeds are listed as `ignored`.
    """
    with lease(settings.home, f"inbox {settings.inbox_dir}"), ExitStack() as stack:
        inbox = _Pass(settings, request or IngestRequest(), stack, strays=stray_entries(settings.inbox_dir))
        for stray in inbox.strays:
            log.warning(
                "%s in the inbox %s is not a feed: it %s.", stray.name, settings.inbox_dir, stray.reason
            )
        folders = closed_feeds(settings.inbox_dir)
        if folders:
            check_catalogue_ready(settings)  # else every feed would be refused for a fault of the catalogue
        try:
            for folder in folders:
                inbox.ingest(folder)
        except OnHoldError as error:
            stopped = IngestResult.model_validate(error.result)
            result = inbox.result.model_copy(update={"reasons": stopped.reasons, "on_hold": stopped.on_hold})
            raise OnHoldError(" ".join([str(error), *inbox.refusals, *inbox.stuck]), result) from error
        _report(inbox)
        return inbox.result


def _report(inbox: _Pass) -> None:
    """Raise an error if a feed could not be moved, was refused, or if the decision is about no feed."""
    folder, applied = inbox.settings.inbox_dir, len(inbox.results)
    if inbox.stuck:
        raise RecsimError(
            f"{' '.join([*inbox.refusals, *inbox.stuck])} Make {folder} writable, with nothing but folders "
            f"below {APPLIED} and {REFUSED}. Feeds applied: {applied}; none is applied twice."
        )
    if inbox.refusals:
        raise InputError(
            f"{' '.join(inbox.refusals)} Refused feeds are now in {folder / REFUSED}. Other feeds applied: "
            f"{applied}. Clear this task to continue without the refused ones."
        )
    decision = inbox.request.decision
    if decision is not None and not inbox.decided and not _was_decided(inbox.settings, decision):
        raise InputError(
            f"No feed of the inbox {folder} matches {decision.feed!r}. `recsim ingest` names the feed that "
            "is on hold."
        )


def _check_not_a_link(folder: Path) -> None:
    """Raise `InputError` for a link: moving it aside would not move the feed."""
    if folder.is_symlink():
        raise InputError(f"{one_line(folder)} is a symbolic link. Deliver the folder itself.")


def _exists(folder: Path) -> bool:
    return folder.is_symlink() or folder.exists()


def _log_vanished(folder: Path) -> None:
    log.warning("Feed %s was removed from the inbox before it was read; skipping it.", folder.name)


def _was_decided(settings: Settings, decision: FeedDecision) -> bool:
    """Return whether an earlier try of this command has carried out the decision."""
    if decision.accepts:
        return any(
            decision.matches(str(entry.get("feed_id", "")), str(entry.get("digest", "")))
            for entry in recent_commit_metadata(settings.products_uri)
        )
    notes = read_notes(settings.inbox_dir, REFUSED)
    return any(decision.matches(note.feed_id or "", note.digest or "") for note in notes)
