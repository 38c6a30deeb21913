"""Ask the serving side which release it answers from."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import NamedTuple

from recsim_tasks.foundation.errors import RecsimError, UnavailableError
from recsim_tasks.foundation.settings import Settings

PATIENCE_SECONDS = 120.0
POLL_SECONDS = 0.25


def wait_until_live(settings: Settings, version: int) -> float:
    """Seconds until every worker behind `settings.serving_url` answered from `version`; `RecsimError` with its last words when it does not in time.

    `UnavailableError` when it does not answer at all, or answers that it is not ready.
    """
    started = time.monotonic()
    while time.monotonic() - started < PATIENCE_SECONDS:
        away, told = _ready(f"{settings.serving_url}/health/ready")
        if told.get("release") == told.get("oldest_release") == version:
            return round(time.monotonic() - started, 2)
        time.sleep(POLL_SECONDS)
    raise (UnavailableError if away else RecsimError)(
        f"{settings.serving_url} does not answer from release {version} after {PATIENCE_SECONDS:.0f} s; it says {told}. "
        f"The registry has the release in Production: look at the serving log, then clear this task."
    )


class _Said(NamedTuple):
    """What the serving side says of itself, and whether that is no answer."""

    away: bool
    words: dict[str, object]


def _ready(url: str) -> _Said:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - the operator's own setting
            return _Said(False, dict(json.load(response)))
    except urllib.error.HTTPError as error:
        return _Said(
            error.code >= 500, {"status": error.code, "says": error.read(2000).decode(errors="replace")}
        )
    except (OSError, ValueError) as error:
        return _Said(True, {"error": str(error)})
