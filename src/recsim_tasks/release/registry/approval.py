"""The approval of a release by a person, as one tag of its version. Pure."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

# The tag of a version; without it no approval is needed.
APPROVAL = "approval"
Through = Literal["airflow", "cli"]
# MLflow refuses tags of 5,000 characters and more.
LONGEST_REASON = 1_000


@dataclass(frozen=True)
class Approval:
    """The last answer about a release, or the request for one."""

    state: Literal["awaited", "approved", "rejected"]
    by: str | None = None
    at: float | None = None
    """When the answer was given, in seconds since the epoch."""
    through: Through = "airflow"
    """`airflow` authenticates its users; `cli` takes the name that the caller gives."""
    reason: str = ""

    def as_tag(self) -> str:
        """The form in which it is stored."""
        return json.dumps(asdict(self) | {"reason": self.reason[:LONGEST_REASON]}, ensure_ascii=False)

    def is_overridden_by(self, answered_at: float | None) -> bool:
        """Whether an approval given at this time overrides it: it is newer than a rejection."""
        return answered_at is not None and (self.state != "rejected" or answered_at > (self.at or 0))


def approval_of(tags: Mapping[str, str]) -> Approval | None:
    """The approval of a version with these tags; None if none was asked for."""
    return Approval(**json.loads(tags[APPROVAL])) if APPROVAL in tags else None


def refusal(tags: Mapping[str, str]) -> str | None:
    """Why a version with these tags may not be promoted without a new approval; None if it may."""
    approval = approval_of(tags)
    if approval is None or approval.state == "approved":
        return None
    task = f"the task `approve` of refresh {tags.get('refresh_id', '')}"
    if approval.state == "awaited":
        return f"it waits for an approval: respond to {task} in Airflow"
    why = f": {approval.reason}" if approval.reason else ""
    return (
        f"{approval.by} rejected it on {minute(approval.at or 0)}{why}. "
        f"It needs a new approval: clear {task} in Airflow to be asked again"
    )


def minute(at: float) -> str:
    """A time as people read it."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
