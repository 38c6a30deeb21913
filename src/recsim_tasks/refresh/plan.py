"""Decide what a refresh must do.

Pure: facts in, decision and reasons out; docs/plan.md explains the thresholds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from recsim_tasks.contracts import Cursor, Decision, PlanResult
from recsim_tasks.foundation.errors import ConfigurationError, InputError
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.evaluation.drift import Drift

Mode = Literal["auto", "append", "rebuild", "retrain"]
STRONGEST_FIRST: tuple[Decision, ...] = ("retrain", "rebuild", "append")
NEW_IMAGES = ("insert", "replace")


@dataclass(frozen=True)
class Champion:
    """The release in Production, as its manifest describes it."""

    cursor: Cursor
    """The version of the catalogue that it reflects."""
    built: int
    """Products of its index when it was built."""
    churn: int
    """Products added, replaced and removed in its index since."""
    recall: float
    """Share of the exact ten nearest neighbours that its index found."""
    model_days: float
    """Age of its model."""
    unseen: int
    """Images added since its model was trained."""
    categories: frozenset[str]
    """The categories that its model was trained on."""
    trained_at: float = 0.0
    """When its model was trained, in seconds since the epoch."""
    model_fingerprint: str = ""
    imbalance: float = 1.0
    """How much more unequal the lists of its index have become since it was built; 1 for no change."""
    drift: Drift | None = None
    """The drift of the images added since the training; None if it was not measured."""
    kind: str = ""
    """Backbone, input and output of its model, as `model_kind` formats them."""


@dataclass(frozen=True)
class Facts:
    """What decides a plan: the champion, the head of the catalogue, and the changes between them."""

    champion: Champion | None
    head: Cursor
    changes: Mapping[str, int]
    """Net changes by kind from the champion to the head; without a champion every product is an insert."""
    change_feed_gap: str | None = None
    """Why the change feed cannot be read; `changes` then compares the champion's index with the catalogue."""
    categories: Mapping[str, int] | None = None
    """Products at the head by category."""
    products: int = 0
    """Products at the head."""
    rejected_append: str | None = None
    """Why the gate rejected what was last appended to this champion's index, if a rebuild can help."""
    champion_missing: str | None = None
    """Why there is no champion to build on, although a release was in Production."""


@dataclass(frozen=True)
class Plan:
    """What to do, and why, in sentences."""

    decision: Decision
    reasons: list[str]
    warm_start: bool = False
    """Whether a training starts from the champion's weights."""


def decide(facts: Facts, settings: Settings, mode: Mode = "auto") -> Plan:
    """The strongest decision for which there is a reason, with every reason; `mode` overrides it.

    Raises `InputError` if the requested mode is not possible, and `ConfigurationError` if a training would
    need more devices than there are.
    """
    plan = _decide(facts, settings, mode)
    if plan.decision != "retrain":
        return plan
    _check_devices(settings)
    warm, reasons = _start(facts.champion, settings)
    return Plan(plan.decision, [*plan.reasons, *reasons], warm)


def model_kind(backbone: str, size: int, channels: int, embedding_size: int) -> str:
    """What two models must have in common for one to start from the other's weights."""
    return f"{backbone} from {size} x {size} x {channels} to {embedding_size}"


def _decide(facts: Facts, settings: Settings, mode: Mode) -> Plan:
    by_decision: dict[Decision, list[str]] = {
        "retrain": list(_retrain(facts, settings)),
        "rebuild": list(_rebuild(facts, settings)),
        "append": list(_append(facts)),
    }
    reasons = [reason for decision in STRONGEST_FIRST for reason in by_decision[decision]]
    if not by_decision["append"] and facts.champion is not None:
        reasons.append(f"No product changed since version {facts.champion.cursor.version} of the catalogue.")
    if mode == "auto":
        return Plan(
            next((decision for decision in STRONGEST_FIRST if by_decision[decision]), "skip"), reasons
        )
    _check_possible(facts, mode)
    return Plan(mode, [f"Mode {mode} was requested.", *reasons])


def report(plan: PlanResult) -> list[str]:
    """The plan as lines for people."""
    minutes = plan.estimate.minutes
    time = (
        "no earlier refresh of this kind to estimate the time from"
        if minutes is None
        else f"about {minutes:g} minutes, like the last refreshes of this kind"
    )
    return [
        f"Plan of {plan.refresh_id}: {plan.decision}, for version {plan.head.version} of the catalogue.",
        *(f"  because: {reason}" for reason in plan.reasons),
        f"  changes: {in_words(plan.changes)}",
        f"  expected: {plan.estimate.images:,} images to embed; {time}",
    ]


def in_words(changes: Mapping[str, int]) -> str:
    """Format counts by kind."""
    return ", ".join(f"{count:,} {kind}" for kind, count in changes.items() if count) or "none"


def _check_devices(settings: Settings) -> None:
    """A task that needs more slots than its pool has would wait forever."""
    for name, slots in (("RECSIM_RANKS", settings.ranks), ("RECSIM_TUNE_PARALLEL", settings.tune_parallel)):
        if slots > settings.device_slots:
            raise ConfigurationError(
                f"{name} needs {slots} slots of gpu_pool, which has {settings.device_slots}: one for each "
                f"GPU (RECSIM_GPUS), or without GPUs one for each slot of {settings.spark_master} "
                "(RECSIM_SPARK_MASTER). Lower the one or raise the other."
            )


def check_pool(decision: Decision, settings: Settings, slots: int | None) -> None:
    """Raise `ConfigurationError` if a task of the refresh needs more slots than Airflow's pool has."""
    needed = {"RECSIM_GPUS": settings.embedding_slots} if decision != "skip" else {}
    if decision == "retrain":
        needed |= {"RECSIM_RANKS": settings.ranks, "RECSIM_TUNE_PARALLEL": settings.tune_parallel}
    for name, count in needed.items():
        if slots is not None and count > slots:
            raise ConfigurationError(
                f"{name} needs {count} slots of gpu_pool, which has {slots} in Airflow: the task would wait "
                f"forever. Run `airflow pools set gpu_pool {settings.device_slots} devices`, or lower {name}."
            )


def _start(champion: Champion | None, settings: Settings) -> tuple[bool, list[str]]:
    if champion is None or not settings.warm_start:
        return False, []
    kind = model_kind(
        settings.backbone, settings.image_size, settings.image_channels, settings.embedding_size
    )
    if champion.kind != kind:
        return False, [
            f"Training starts from scratch: the champion's model is {champion.kind}, "
            f"the settings ask for {kind}."
        ]
    return True, ["Training starts from the champion's weights (RECSIM_WARM_START)."]


def _check_possible(facts: Facts, mode: Mode) -> None:
    if facts.champion is None and mode != "retrain":
        why = facts.champion_missing or "No release is in Production yet."
        raise InputError(f"Mode {mode} is not possible: {why} Run with mode retrain or auto.")
    if facts.change_feed_gap and mode == "append":
        raise InputError(
            f"Mode append is not possible: {facts.change_feed_gap} Run with mode rebuild or auto."
        )


def _retrain(facts: Facts, settings: Settings) -> Iterator[str]:
    champion = facts.champion
    if champion is None:
        yield facts.champion_missing or "No release is in Production yet."
        return
    if champion.model_days > settings.retrain_days:
        yield (
            f"The model is {champion.model_days:.0f} days old, more than {settings.retrain_days} "
            f"(RECSIM_RETRAIN_DAYS)."
        )
    unseen = min(1.0, (champion.unseen + _new_images(facts)) / max(facts.products, 1))
    if unseen > settings.retrain_unseen_share:
        yield (
            f"{unseen:.0%} of the images are newer than the training, more than "
            f"{settings.retrain_unseen_share:.0%} (RECSIM_RETRAIN_UNSEEN_SHARE)."
        )
    for name, count in sorted((facts.categories or {}).items()):
        if name not in champion.categories and count >= settings.retrain_category_products:
            yield (
                f"The model was not trained on category {name!r}, which has {count:,} products; "
                f"{settings.retrain_category_products} are enough to train on it "
                f"(RECSIM_RETRAIN_CATEGORY_PRODUCTS)."
            )
    if (drift := champion.drift) and drift.at_least > settings.retrain_drift:
        yield (
            f"The new images drift: with a likelihood of {drift.likelihood:.2f}, one of them lies farther "
            f"from the known images of its category than a held-out image does ({drift.images:,.0f} images, "
            f"at least {drift.at_least:.3f}, 0.5 without drift); the limit is {settings.retrain_drift:g} "
            "(RECSIM_RETRAIN_DRIFT)."
        )


def _rebuild(facts: Facts, settings: Settings) -> Iterator[str]:
    champion = facts.champion
    if champion is None:
        return
    if facts.change_feed_gap:
        yield facts.change_feed_gap
    if facts.rejected_append:
        yield facts.rejected_append
    churn = champion.churn + sum(facts.changes.get(kind, 0) for kind in (*NEW_IMAGES, "delete"))
    share = churn / max(champion.built, 1)
    if share >= settings.rebuild_churn:
        yield (
            f"{churn:,} products were added, replaced or removed since the index was built with "
            f"{champion.built:,}: {share:.0%}, the limit is {settings.rebuild_churn:.0%} "
            "(RECSIM_REBUILD_CHURN)."
        )
    if champion.imbalance > settings.rebuild_imbalance:
        yield (
            f"The lists of the champion's index have become unequal: a query scans {champion.imbalance:.2f} "
            f"times as much as when it was built, more than {settings.rebuild_imbalance:g} "
            "(RECSIM_REBUILD_IMBALANCE)."
        )
    # A rebuild of an index that has not changed since it was built would give the same index, every night.
    if champion.churn and champion.recall < settings.rebuild_recall:
        yield (
            f"The champion's index found {champion.recall:.4f} of the exact ten nearest neighbours, "
            f"less than {settings.rebuild_recall:g} (RECSIM_REBUILD_RECALL)."
        )


def _append(facts: Facts) -> Iterator[str]:
    if facts.champion is None or not any(facts.changes.values()):
        return
    if facts.change_feed_gap:
        yield (
            f"Compared with the champion's index, the catalogue at version {facts.head.version} has: "
            f"{in_words(facts.changes)}."
        )
    else:
        yield (
            f"Changes from version {facts.champion.cursor.version} to {facts.head.version}: "
            f"{in_words(facts.changes)}."
        )


def _new_images(facts: Facts) -> int:
    return sum(facts.changes.get(kind, 0) for kind in NEW_IMAGES)
