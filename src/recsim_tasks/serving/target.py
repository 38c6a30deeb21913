"""What the workers of this machine should serve: one file that the follower writes and the workers watch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from recsim_tasks.foundation.settings import Settings

TARGET_FILE = "serving.json"
STATES = {
    "starting": "The server is looking for the release in Production. Try again in a few seconds.",
    "no_release": "No release is in Production yet. Run a refresh first.",
    "registry_unavailable": "The MLflow registry does not answer.",
    "alias_not_followed": "The alias champion names a release that may not be served, or none.",
    "release_refused": "The release in Production is damaged, or its encoder gives unexpected vectors.",
    "release_unavailable": "The release in Production could not be fetched or opened.",
    "failed": "The server could not load the release in Production; its log says why.",
}
"""What a health check without a token may learn of a problem."""


class Problem(NamedTuple):
    """Why the champion is not being served."""

    state: str
    """A key of `STATES`, for health checks without a token."""
    reason: str
    """The full sentence, for the log and for authorised callers."""


JUST_STARTED = Problem(
    "starting",
    "The server has just started and is looking for the release in Production. Try again in a few seconds.",
)


@dataclass(frozen=True)
class ServingTarget:
    """The release to serve, and why it is not the champion if it is not."""

    version: int | None = None
    problem: Problem | None = JUST_STARTED
    registry_up: bool = True

    @classmethod
    def read(cls, settings: Settings) -> ServingTarget:
        """Read the target that the follower wrote last; the default before it wrote any.

        Raises `OSError` when the file exists and cannot be read: its target is not the default then.
        """
        try:
            stored = json.loads((releases_dir(settings) / TARGET_FILE).read_text())
            return cls(**{**stored, "problem": Problem(*stored["problem"]) if stored["problem"] else None})
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return cls()


def releases_dir(settings: Settings) -> Path:
    """Return the folder of the fetched releases, `VERSION/` each."""
    return settings.home.absolute() / "releases"


def suspect_file(settings: Settings, version: int) -> Path:
    """Return the file by which a worker reports that a fetched release is damaged."""
    return releases_dir(settings) / f"{version}.suspect"
