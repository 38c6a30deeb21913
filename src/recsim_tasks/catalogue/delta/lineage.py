"""What a version of a table is made of, where a RESTORE has put an earlier one back. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

Entry = dict[str, Any]
RESTORE = "RESTORE"


class Lineage(NamedTuple):
    """The commits whose effect a version still has: `versions`, and all up to `below`, of which the log tells no more.

    `below` is None when a RESTORE does not say what it put back.
    """

    versions: frozenset[int]
    below: int | None


def lineage(history: Sequence[Entry], head: int) -> Lineage:
    """What `head` is made of, given the entries of the log in any order: a RESTORE goes on with the version that it put back."""
    entries = {int(entry["version"]): entry for entry in history}
    kept, version = set[int](), head
    while version in entries:
        kept.add(version)
        if entries[version].get("operation") == RESTORE:
            back = _restored(entries, version)
            if back is None or back >= version:
                return Lineage(frozenset(kept), None)
            version = back
        else:
            version -= 1
    return Lineage(frozenset(kept), version)


def _restored(entries: dict[int, Entry], version: int) -> int | None:
    """The version that the RESTORE in commit `version` put back; None when that cannot be told."""
    parameters = entries[version].get("operationParameters") or {}
    named = parameters.get("version")
    if named is not None and str(named).isdigit():
        return int(named)
    moment = _moment(parameters.get("timestamp") or parameters.get("datetime"))
    if moment is None:
        return None
    return max(
        (n for n, entry in entries.items() if n < version and entry["timestamp"] <= moment), default=None
    )


def _moment(text: Any) -> float | None:
    """A moment in milliseconds, as Spark and delta-rs write it: in UTC where they name no zone."""
    try:
        moment = datetime.fromisoformat(str(text).strip('"').replace(" UTC", ""))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000
