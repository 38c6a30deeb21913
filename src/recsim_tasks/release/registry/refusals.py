"""Why a release is not promoted. Pure: tags in, a sentence out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recsim_tasks.release.registry.approval import approval_of, minute, refusal
from recsim_tasks.release.registry.production import REASONS_TAG, ROLLED_BACK, VERDICT_TAG, Tags


def promotion_refusal(
    version: int, tags: Tags, champion: int | None, held: Mapping[str, Any] | None, approved_at: float | None
) -> str | None:
    """Why release `version` is not promoted in place of `champion`; None when it may be.

    `held` is the freeze of promotions, if there is one; `approved_at` when a person has approved the release.
    """
    if tags.get(VERDICT_TAG) != "pass":
        return f"The gate held release {version}, it stays in Staging. {tags.get(REASONS_TAG, '')}".rstrip()
    if ROLLED_BACK in tags:
        again = f"If it is to serve all the same: `recsim rollback --to {version}`, then `--resume`."
        return f"Release {version} was rolled back: {tags[ROLLED_BACK]}. {again}"
    approval = approval_of(tags)
    if (reason := refusal(tags)) and approval and not approval.is_lifted_by(approved_at):
        return f"Release {version} stays in Staging: {reason}."
    if held:
        return (
            f"Promotions are held by {held['by']} since {minute(held['at'])}: {held['reason']}. Release {version} stays in Staging; "
            "`recsim rollback --resume` lets the next refresh promote."
        )
    return _overtaken(version, tags.get("gate.champion", ""), str(champion or ""))


def _overtaken(version: int, against: str, champion: str) -> str | None:
    if against == champion:
        return None
    return (
        f"Release {version} was judged against {_named(against)}, but {_named(champion)} is in Production now. "
        "It stays in Staging; run the refresh again, or name an earlier release with `recsim rollback --to`."
    )


def _named(version: str) -> str:
    return f"release {version}" if version else "none"
