"""Which release is the champion, also where a person has moved or removed its alias. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recsim_tasks.release.registry.approval import refusal
from recsim_tasks.release.registry.references import ReleaseRef

# The metric whose points, in order, are the versions that were in Production; MLflow draws it.
IN_PRODUCTION = "in_production"
# A tag of a version, with the reason.
ROLLED_BACK = "rolled_back"
VERDICT_TAG, REASONS_TAG = "gate.verdict", "gate.reasons"
Tags = Mapping[str, str]


@dataclass(frozen=True)
class Production:
    """The release in Production, and what is wrong with how the registry names it."""

    release: ReleaseRef | None
    problem: str | None = None
    """Why it is not the one that the alias `champion` names, and what to do; None when it is."""
    deleted: int | None = None
    """The version that was in Production last, when it is no longer in the registry."""


@dataclass(frozen=True)
class Judged:
    """A version instead of a `Production`'s release."""

    version: int | None
    problem: str | None = None
    deleted: int | None = None


def production_tag(number: int) -> str:
    """Of a version: who brought it into Production, and why, as that point of the history."""
    return f"production.{number}"


def was_in_production(tags: Tags) -> bool:
    """Whether a version with these tags was brought into Production by a promotion or a rollback."""
    return any(name.startswith(production_tag(0)[:-1]) for name in tags)


def unfit(tags: Tags) -> str | None:
    """Why a version with these tags may not serve, even after a rollback; None when it may."""
    if tags.get(VERDICT_TAG) != "pass":
        return f"the gate did not pass it: {tags.get(REASONS_TAG) or 'it has no verdict'}".rstrip(". ")
    return refusal(tags)


def fault(tags: Tags) -> str | None:
    """Why the alias may not name a version with these tags; None when it may."""
    return unfit(tags) or (f"it was rolled back: {tags[ROLLED_BACK]}" if ROLLED_BACK in tags else None)


def earlier(points: Sequence[int], kept: Mapping[int, Tags]) -> list[int]:
    """The versions that were in Production before the last of `points` and may serve again, the newest first.

    `kept` are the tags of the versions that the registry still has.
    """
    found = [
        version
        for number, version in reversed([*enumerate(points[:-1])])
        if version != points[-1]
        and production_tag(number) in kept.get(version, {})
        and fault(kept[version]) is None
    ]
    return list(dict.fromkeys(found))


def judge_alias(named: int | None, points: Sequence[int], kept: Mapping[int, Tags]) -> Judged:
    """Which version is the champion: the one that the alias has `named`, if it may serve.

    `points` is the history of versions in Production. Otherwise its last point stays the champion; where that
    version was deleted, the newest earlier one that may serve stands in. `kept` as for `earlier`.
    """
    last = points[-1] if points else None
    if named is not None and named in kept and (named == last or fault(kept[named]) is None):
        return Judged(named)
    moved = _moved(named, kept)
    if last is None:
        return Judged(
            None, f"{moved} No release was in Production before it: run a refresh." if moved else None
        )
    if last in kept:
        sentence = moved or "The alias champion was removed from the registry."
        return Judged(last, f"{sentence} Release {last} stays the champion; {_again(last)}.")
    sentence = f"{moved} " if moved else ""
    sentence += f"Release {last} was in Production and was deleted from the registry."
    before = next(iter(earlier(points, kept)), None)
    if before is None:
        sentence += " No earlier release is left: the next refresh trains again and promotes a new one."
        return Judged(None, sentence, last)
    sentence += f" Release {before}, which was in Production before it, stands in; {_again(before)}."
    return Judged(before, sentence, last)


def _moved(named: int | None, kept: Mapping[int, Tags]) -> str | None:
    if named is None or named not in kept:
        return None
    return (
        f"The alias champion was moved to release {named} by hand, which is not served: {fault(kept[named])}."
    )


def _again(version: int) -> str:
    return f"`recsim promote --version {version}` sets the alias again"
