"""Decide what a refresh must do. Pure: facts in, decision and reasons out; docs/plan.md says why the thresholds are what they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from recsim_tasks.contracts import Cursor
from recsim_tasks.foundation.errors import ConfigurationError, InputError
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.evaluation.drift import Drift

Decision = Literal["skip", "append", "rebuild", "retrain"]
Mode = Literal["auto", "append", "rebuild", "retrain"]
STRONGEST_FIRST: tuple[Decision, ...] = ("retrain", "rebuild", "append")
NEW_IMAGES = ("insert", "replace")


@dataclass(frozen=True)
class Champion:
    """What the release in Production says of itself in its manifest."""

    cursor: Cursor
    """Up to where it reflects the catalogue."""
    built: int
    """Products of its index when that was built."""
    churn: int
    """Products added, replaced and removed in its index since."""
    recall: float
    """Share of the exact ten nearest that its index found."""
    model_days: float
    """Age of its model."""
    unseen: int
    """Images that came since its model was trained."""
    categories: frozenset[str]
    """What its model was trained on."""
    trained_at: float = 0.0
    """When its model was trained, in seconds since the epoch."""
    model_fingerprint: str = ""
    imbalance: float = 1.0
    """How much more unequal the lists of its index are than when it was built: 1 is as then."""
    drift: Drift | None = None
    """How far from known images those lie that came since the training; None when it was not measured."""
    kind: str = ""
    """Backbone, input and output of its model, as `model_kind` tells them."""


@dataclass(frozen=True)
class Facts:
    """What is known before a refresh: where the champion stands, where the catalogue stands, what lies between."""

    champion: Champion | None
    head: Cursor
    changes: Mapping[str, int]
    """Net changes by kind from what the champion holds to the head; without a champion every product is an insert."""
    lost: str | None = None
    """Why the change feed does not tell them, and they come from comparing the champion's index with the catalogue."""
    categories: Mapping[str, int] | None = None
    """Products of the head by category."""
    products: int = 0
    """Products of the head."""
    held: str | None = None
    """Why the gate holds what was last appended to this champion's index, if that is to blame."""
    missing: str | None = None
    """Why there is no champion to go on from, although a release was in Production."""


@dataclass(frozen=True)
class Plan:
    """What to do, and why, in sentences."""

    decision: Decision
    reasons: list[str]
    warm_start: bool = False
    """Whether a training starts from the champion's weights."""


def decide(facts: Facts, settings: Settings, mode: Mode = "auto") -> Plan:
    """The strongest of the refreshes for which there is a reason, with every reason; `mode` overrules where it can.

    Raises `InputError` when the mode that was asked for cannot be done, and `ConfigurationError` when a training asks for more devices
    than there are.
    """
    made = _decided(facts, settings, mode)
    if made.decision != "retrain":
        return made
    _check_devices(settings)
    warm, why = _start(facts.champion, settings)
    return Plan(made.decision, [*made.reasons, *why], warm)


def model_kind(backbone: str, size: int, channels: int, embedding_size: int) -> str:
    """What two models must have in common for one to go on from the other's weights."""
    return f"{backbone} from {size} x {size} x {channels} to {embedding_size}"


def _decided(facts: Facts, settings: Settings, mode: Mode) -> Plan:
    found: dict[Decision, list[str]] = {
        "retrain": list(_retrain(facts, settings)),
        "rebuild": list(_rebuild(facts, settings)),
        "append": list(_append(facts)),
    }
    reasons = [reason for decision in STRONGEST_FIRST for reason in found[decision]]
    if not found["append"] and facts.champion is not None:
        reasons.append(f"No product changed since version {facts.champion.cursor.version} of the catalogue.")
    if mode == "auto":
        return Plan(next((decision for decision in STRONGEST_FIRST if found[decision]), "skip"), reasons)
    _check_possible(facts, mode)
    return Plan(mode, [f"Mode {mode} was asked for.", *reasons])


def lines(planned: Mapping[str, Any]) -> list[str]:
    """What people read of a plan's result."""
    images, minutes = planned["estimate"]["images"], planned["estimate"]["minutes"]
    time = (
        "no finished refresh of this kind tells the time"
        if minutes is None
        else f"about {minutes:g} minutes, as the last of this kind"
    )
    return [
        f"Plan of {planned['refresh_id']}: {planned['decision']}, for version {planned['head']['version']} of the catalogue.",
        *(f"  because: {reason}" for reason in planned["reasons"]),
        f"  changes: {told(planned['changes'])}",
        f"  expected: {images:,} images to embed; {time}",
    ]


def told(changes: Mapping[str, int]) -> str:
    """Counts by kind in words."""
    return ", ".join(f"{count:,} {kind}" for kind, count in changes.items() if count) or "none"


def _check_devices(settings: Settings) -> None:
    """A task that asks for more slots than its pool has would wait for ever."""
    for name, asked in (("RECSIM_RANKS", settings.ranks), ("RECSIM_TUNE_PARALLEL", settings.tune_parallel)):
        if asked > settings.device_slots:
            raise ConfigurationError(
                f"{name} asks for {asked} slots of gpu_pool, which has {settings.device_slots}: one a GPU (RECSIM_GPUS), without GPUs one a slot of "
                f"{settings.spark_master} (RECSIM_SPARK_MASTER). Lower the one or raise the other."
            )


def check_pool(decision: Decision, settings: Settings, slots: int | None) -> None:
    """Refuse a refresh (`ConfigurationError`) one of whose tasks asks for more slots than Airflow's pool has."""
    asked = {"RECSIM_GPUS": settings.embedding_slots} if decision != "skip" else {}
    if decision == "retrain":
        asked |= {"RECSIM_RANKS": settings.ranks, "RECSIM_TUNE_PARALLEL": settings.tune_parallel}
    for name, count in asked.items():
        if slots is not None and count > slots:
            raise ConfigurationError(
                f"{name} asks for {count} slots of gpu_pool, which has {slots} in Airflow: the task would wait for ever. "
                f"Run `airflow pools set gpu_pool {settings.device_slots} devices`, or lower {name}."
            )


def _start(champion: Champion | None, settings: Settings) -> tuple[bool, list[str]]:
    if champion is None or not settings.warm_start:
        return False, []
    kind = model_kind(
        settings.backbone, settings.image_size, settings.image_channels, settings.embedding_size
    )
    if champion.kind != kind:
        return False, [
            f"Training starts anew: the champion's model is a {champion.kind}, asked for is a {kind}."
        ]
    return True, ["Training starts from the champion's weights (RECSIM_WARM_START)."]


def _check_possible(facts: Facts, mode: Mode) -> None:
    if facts.champion is None and mode != "retrain":
        why = facts.missing or "No release is in Production yet."
        raise InputError(f"Mode {mode} is not possible: {why} Run with mode retrain or auto.")
    if facts.lost and mode == "append":
        raise InputError(f"Mode append is not possible: {facts.lost} Run with mode rebuild or auto.")


def _retrain(facts: Facts, settings: Settings) -> Iterator[str]:
    champion = facts.champion
    if champion is None:
        yield facts.missing or "No release is in Production yet."
        return
    if champion.model_days > settings.retrain_days:
        yield f"The model is {champion.model_days:.0f} days old, more than {settings.retrain_days} (RECSIM_RETRAIN_DAYS)."
    unseen = min(1.0, (champion.unseen + _new_images(facts)) / max(facts.products, 1))
    if unseen > settings.retrain_unseen_share:
        yield f"{unseen:.0%} of the images came after the training, more than {settings.retrain_unseen_share:.0%} (RECSIM_RETRAIN_UNSEEN_SHARE)."
    for name, count in sorted((facts.categories or {}).items()):
        if name not in champion.categories and count >= settings.retrain_category_products:
            yield (
                f"The model was not trained on category {name!r}, which has {count:,} products; "
                f"{settings.retrain_category_products} are enough (RECSIM_RETRAIN_CATEGORY_PRODUCTS)."
            )
    if (drift := champion.drift) and drift.at_least > settings.retrain_drift:
        yield (
            f"The new images drift: {drift.likelihood:.2f} is the likelihood that one of them lies farther from the known images of its "
            f"category than a held-out image does ({drift.images:,.0f} images, at least {drift.at_least:.3f}, 0.5 without drift); "
            f"{settings.retrain_drift:g} is the limit (RECSIM_RETRAIN_DRIFT)."
        )


def _rebuild(facts: Facts, settings: Settings) -> Iterator[str]:
    champion = facts.champion
    if champion is None:
        return
    if facts.lost:
        yield facts.lost
    if facts.held:
        yield facts.held
    churn = champion.churn + sum(facts.changes.get(kind, 0) for kind in (*NEW_IMAGES, "delete"))
    share = churn / max(champion.built, 1)
    if share >= settings.rebuild_churn:
        yield (
            f"{churn:,} products came, were replaced or went since the index was built of {champion.built:,}: {share:.0%}, "
            f"where {settings.rebuild_churn:.0%} is the limit (RECSIM_REBUILD_CHURN)."
        )
    if champion.imbalance > settings.rebuild_imbalance:
        yield (
            f"The lists of the champion's index have become unequal, a query looks at {champion.imbalance:.2f} times as much as when it was built, "
            f"more than {settings.rebuild_imbalance:g} (RECSIM_REBUILD_IMBALANCE)."
        )
    # An index that was not changed since it was built would be built the same again, every night.
    if champion.churn and champion.recall < settings.rebuild_recall:
        yield (
            f"The champion's index found {champion.recall:.4f} of the exact ten nearest, "
            f"less than {settings.rebuild_recall:g} (RECSIM_REBUILD_RECALL)."
        )


def _append(facts: Facts) -> Iterator[str]:
    if facts.champion is None or not any(facts.changes.values()):
        return
    if facts.lost:
        yield f"Compared with the champion's index, the catalogue at version {facts.head.version} has: {told(facts.changes)}."
    else:
        yield f"Changes since version {facts.champion.cursor.version} up to {facts.head.version}: {told(facts.changes)}."


def _new_images(facts: Facts) -> int:
    return sum(facts.changes.get(kind, 0) for kind in NEW_IMAGES)
