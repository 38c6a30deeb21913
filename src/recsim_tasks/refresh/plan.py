"""Decide what a refresh must do. Pure: facts in, decision and reasons out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from recsim_tasks.catalogue.cursor import Cursor
from recsim_tasks.foundation.errors import InputError

Decision = Literal["skip", "append", "rebuild", "retrain"]
Mode = Literal["auto", "append", "rebuild", "retrain"]


@dataclass(frozen=True)
class Facts:
    """What is known before a refresh: where the champion stands, where the catalogue stands, what lies between."""

    cursor: Cursor | None
    """Up to where the champion reflects the catalogue; None when there is no champion."""
    head: Cursor
    changes: dict[str, int] | None
    """Net changes by kind in (cursor, head]; None when they cannot be told."""
    lost: str | None = None
    """Why they cannot be told."""


@dataclass(frozen=True)
class Plan:
    """What to do, and why, in sentences."""

    decision: Decision
    reasons: list[str]


def decide(facts: Facts, mode: Mode = "auto") -> Plan:
    """The cheapest refresh that makes a release of the catalogue's head; `mode` overrules where it can.

    Raises `InputError` when the mode that was asked for cannot be done.
    """
    needed = _needed(facts)
    if mode == "auto":
        return needed
    if mode == "append" and needed.decision in ("rebuild", "retrain"):
        raise InputError(f"Mode append is not possible: {needed.reasons[0]} Run with mode {needed.decision} or auto.")
    if mode == "rebuild" and needed.decision == "retrain":
        raise InputError(f"Mode rebuild is not possible: {needed.reasons[0]} Run with mode retrain or auto.")
    return Plan(mode, [f"Mode {mode} was asked for.", *needed.reasons])


def _needed(facts: Facts) -> Plan:
    cursor, head = facts.cursor, facts.head
    if cursor is None:
        return Plan("retrain", ["No release is in Production yet."])
    if cursor.table_id != head.table_id:
        return Plan("rebuild", ["The catalogue was created anew since the champion's release."])
    if cursor.version > head.version:
        return Plan("rebuild", [f"The catalogue was restored to version {head.version}, before the champion's {cursor.version}."])
    if facts.changes is None:
        return Plan("rebuild", [facts.lost or "The change range cannot be read."])
    if not any(facts.changes.values()):
        return Plan("skip", [f"No product changed since version {cursor.version} of the catalogue."])
    return Plan("append", [_count(facts.changes, cursor, head)])


def _count(changes: dict[str, int], cursor: Cursor, head: Cursor) -> str:
    parts = ", ".join(f"{count:,} {kind}" for kind, count in changes.items() if count)
    return f"Changes since version {cursor.version} up to {head.version}: {parts}."
