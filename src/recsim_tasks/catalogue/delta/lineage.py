"""Which commits a version of a table still reflects, where a RESTORE has returned to an earlier one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from recsim_tasks.catalogue.delta.log import RESTORE, CommitInfo


class Lineage(NamedTuple):
    """The commits that a version reflects."""

    versions: frozenset[int]
    """Those that the log still has."""
    complete_to: int | None
    """It also reflects all commits up to this one, which the log no longer has; None if that is unknown."""


def lineage(history: Sequence[CommitInfo], head: int) -> Lineage:
    """Return the commits that version `head` reflects, given the log's entries in any order."""
    commits = {info.version: info for info in history}
    versions, version = set[int](), head
    while version in commits:
        versions.add(version)
        if commits[version].operation == RESTORE:
            target = _restored_version(commits, version)
            if target is None or target >= version:
                return Lineage(frozenset(versions), None)
            version = target
        else:
            version -= 1
    return Lineage(frozenset(versions), version)


def _restored_version(commits: dict[int, CommitInfo], version: int) -> int | None:
    """Return the version that the RESTORE in commit `version` returned to; None if the log does not say."""
    parameters = commits[version].parameters
    stated = parameters.get("version")
    if stated is not None and str(stated).isdigit():
        return int(stated)
    time = _parse_time(parameters.get("timestamp") or parameters.get("datetime"))
    if time is None:
        return None
    return max((n for n, info in commits.items() if n < version and info.time <= time), default=None)


def _parse_time(text: Any) -> float | None:
    """Unix seconds of a time as Spark and delta-rs write it: in UTC unless it names a zone."""
    try:
        time = datetime.fromisoformat(str(text).strip('"').replace(" UTC", ""))
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
