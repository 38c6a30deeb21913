"""Which release is the champion, even after a person moved or removed its alias. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast, get_args

from recsim_tasks.contracts import Verdict
from recsim_tasks.release.registry.approval import refusal
from recsim_tasks.release.registry.references import ReleaseRef

# The metric whose points, in order, are the versions that were in Production; MLflow plots it.
IN_PRODUCTION = "in_production"
# A tag of a version, with the reason.
ROLLED_BACK = "rolled_back"
# Tags of a version: the verdict, the sentences behind it (a line each), and the champion that it was compared
# with.
VERDICT_TAG, REASONS_TAG, COMPARED_TAG = "gate.verdict", "gate.reasons", "gate.champion"
Tags = Mapping[str, str]


@dataclass(frozen=True)
class Production:
    """The release in Production, and what is wrong with how the registry names it."""

    release: ReleaseRef | None
    problem: str | None = None
    """Why it is not the one that the alias `champion` names, and what to do; None if it is."""
    deleted: int | None = None
    """The version that was last in Production, if the registry no longer has it."""


@dataclass(frozen=True)
class ResolvedChampion:
    """The version of the champion, with the other fields of `Production`."""

    version: int | None
    problem: str | None = None
    deleted: int | None = None


def production_tag(number: int) -> str:
    """The tag of a version that says who put it into Production, and why, at that point of the history."""
    return f"production.{number}"


def verdict_of(tags: Tags) -> tuple[Verdict | None, list[str]]:
    """The verdict of a version with these tags and its reasons.

    None if it has none, or one that is not known.
    """
    verdict = tags.get(VERDICT_TAG)
    reasons = [line for line in tags.get(REASONS_TAG, "").split("\n") if line]
    return (cast(Verdict, verdict) if verdict in get_args(Verdict) else None), reasons


def was_in_production(version: int, points: Sequence[int], tags: Tags) -> bool:
    """Whether `points`, the history of versions in Production, has a version with these tags.

    Neither a point nor a tag says so alone: a version that was deleted may have had the same number, and a
    promotion may have been killed after it wrote the tag.
    """
    return any(point == version and production_tag(number) in tags for number, point in enumerate(points))


def unfit_reason(tags: Tags) -> str | None:
    """Why a version with these tags may not serve, even after a rollback; None if it may."""
    verdict, reasons = verdict_of(tags)
    if verdict is None:
        return "it has no verdict"
    if verdict == "rejected":
        return f"the gate rejected it: {' '.join(reasons)}".rstrip(". ")
    return refusal(tags)


def alias_fault(tags: Tags) -> str | None:
    """Why the alias may not point to a version with these tags; None if it may."""
    return unfit_reason(tags) or (f"it was rolled back: {tags[ROLLED_BACK]}" if ROLLED_BACK in tags else None)


def earlier_versions(points: Sequence[int], kept: Mapping[int, Tags]) -> list[int]:
    """The versions that were in Production before the last of `points` and may serve again, newest first.

    `kept` has the tags of the versions that the registry still has.
    """
    versions = [
        version
        for number, version in reversed([*enumerate(points[:-1])])
        if version != points[-1]
        and production_tag(number) in kept.get(version, {})
        and alias_fault(kept[version]) is None
    ]
    return list(dict.fromkeys(versions))


def resolve_champion(
    aliased: int | None, points: Sequence[int], kept: Mapping[int, Tags]
) -> ResolvedChampion:
    """Which version is the champion: the one that the alias names, if it may serve.

    `points` is the history of versions in Production. Otherwise its last point stays the champion; if that
    version was deleted, the newest earlier one that may serve takes its place. `kept` as in
    `earlier_versions`.
    """
    last = points[-1] if points else None
    if aliased is not None and aliased in kept and (aliased == last or alias_fault(kept[aliased]) is None):
        return ResolvedChampion(aliased)
    moved = _moved(aliased, kept)
    if last is None:
        return ResolvedChampion(
            None, f"{moved} No release was in Production before: run a refresh." if moved else None
        )
    if last in kept:
        sentence = moved or "The alias champion was removed from the registry."
        return ResolvedChampion(last, f"{sentence} Release {last} stays the champion; {_again(last)}.")
    sentence = f"{moved} " if moved else ""
    sentence += f"Release {last} was in Production and was deleted from the registry."
    before = next(iter(earlier_versions(points, kept)), None)
    if before is None:
        sentence += (
            " No earlier release is left: the next refresh trains an encoder and promotes a new release."
        )
        return ResolvedChampion(None, sentence, last)
    sentence += f" Release {before}, which was in Production before, takes its place; {_again(before)}."
    return ResolvedChampion(before, sentence, last)


def _moved(aliased: int | None, kept: Mapping[int, Tags]) -> str | None:
    if aliased is None or aliased not in kept:
        return None
    fault = alias_fault(kept[aliased])
    return f"The alias champion was moved by hand to release {aliased}, which is not served: {fault}."


def _again(version: int) -> str:
    return f"`recsim promote --version {version}` restores the alias"
