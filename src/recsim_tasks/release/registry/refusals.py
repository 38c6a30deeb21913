"""Why a release is not promoted. Pure: tags in, an error out."""

from __future__ import annotations

from recsim_tasks.contracts import Freeze
from recsim_tasks.foundation.errors import BlockedError, FrozenError, RejectedError
from recsim_tasks.release.registry.approval import approval_of, minute, refusal
from recsim_tasks.release.registry.production import COMPARED_TAG, ROLLED_BACK, Tags, verdict_of


def promotion_refusal(
    version: int, tags: Tags, champion: int | None, freeze: Freeze | None, approved_at: float | None
) -> BlockedError | None:
    """Why release `version` is not promoted in place of `champion`; None if it may be.

    `freeze` is the freeze of promotions, if they are frozen; `approved_at` is when a person approved the
    release.
    """
    verdict, reasons = verdict_of(tags)
    if verdict is None:
        return RejectedError(
            f"Release {version} has no verdict of the gate and stays in Staging. Run its refresh again."
        )
    if verdict == "rejected":
        return RejectedError(
            f"The gate rejected release {version}, it stays in Staging. {' '.join(reasons)}".rstrip()
        )
    if ROLLED_BACK in tags:
        advice = f"To serve it anyway: `recsim rollback --to {version}`, then `recsim resume`."
        return RejectedError(f"Release {version} was rolled back: {tags[ROLLED_BACK]}. {advice}")
    approval = approval_of(tags)
    if (reason := refusal(tags)) and approval and not approval.is_overridden_by(approved_at):
        return RejectedError(f"Release {version} stays in Staging: {reason}.")
    if freeze:
        return FrozenError(
            f"Promotions are frozen by {freeze.by} since {minute(freeze.at)}: {freeze.reason}. Release "
            f"{version} stays in Staging; after `recsim resume`, the next refresh promotes again."
        )
    return _overtaken(version, tags.get(COMPARED_TAG, ""), str(champion or ""))


def _overtaken(version: int, compared: str, champion: str) -> RejectedError | None:
    if compared == champion:
        return None
    return RejectedError(
        f"Release {version} was compared with {_named(compared)}, but {_named(champion)} is in Production "
        "now. It stays in Staging. Run the refresh again, or go back to an earlier release with "
        "`recsim rollback --to`."
    )


def _named(version: str) -> str:
    return f"release {version}" if version else "no release"
