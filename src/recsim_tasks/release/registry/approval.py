"""What people have said about a release before its promotion, as one tag of its version. Pure."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

# The tag of a version. Without it no approval is needed.
APPROVAL = "approval"
Through = Literal["airflow", "cli"]


@dataclass(frozen=True)
class Approval:
    """The last answer about a release, or that one is awaited."""

    state: Literal["awaited", "approved", "rejected"]
    by: str | None = None
    at: float | None = None
    """When the answer was given, in seconds since the epoch."""
    through: Through = "airflow"
    """`airflow` knows its users; `cli` takes the name that the caller gives."""
    reason: str = ""

    def as_tag(self) -> str:
        """The form in which it is stored."""
        return json.dumps(asdict(self) | {"reason": self.reason[:1000]})

    def is_lifted_by(self, answered_at: float | None) -> bool:
        """Whether an approval that was given then is a new one."""
        return answered_at is not None and (self.state != "rejected" or answered_at > (self.at or 0))


def approval_of(tags: Mapping[str, str]) -> Approval | None:
    """The approval of a version with these tags; None when none was asked for."""
    return Approval(**json.loads(tags[APPROVAL])) if APPROVAL in tags else None


def refusal(tags: Mapping[str, str]) -> str | None:
    """Why a version with these tags may not be promoted without a new approval; None when it may."""
    found = approval_of(tags)
    if found is None or found.state == "approved":
        return None
    task = f"the task `approve` of refresh {tags.get('refresh_id', '')}"
    if found.state == "awaited":
        return f"it waits for an approval: answer {task} in Airflow"
    why = f": {found.reason}" if found.reason else ""
    return f"{found.by} rejected it on {minute(found.at or 0)}{why}. It needs a new approval: clear {task} in Airflow, to be asked again"


def minute(at: float) -> str:
    """A time for people."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
