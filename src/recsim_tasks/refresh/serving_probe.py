"""Wait until the serving side answers from a release."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException

from recsim_tasks.foundation.errors import RecsimError, UnavailableError
from recsim_tasks.foundation.settings import Settings

TIMEOUT_SECONDS = 120.0
POLL_SECONDS = 0.25


def wait_until_live(settings: Settings, version: int) -> float:
    """Seconds until every worker behind `settings.serving_url` answers from `version`.

    `UnavailableError` if it does not answer or is not ready by then, `RecsimError` if another release
    answers.
    """
    started = time.monotonic()
    while time.monotonic() - started < TIMEOUT_SECONDS:
        state = _probe(f"{settings.serving_url}/health/ready")
        answer = state.answer
        if answer.get("release") == answer.get("oldest_release") == version:
            return round(time.monotonic() - started, 2)
        time.sleep(POLL_SECONDS)
    raise (RecsimError if state.ready else UnavailableError)(
        f"{settings.serving_url} does not answer from release {version} after {TIMEOUT_SECONDS:.0f} s; its "
        f"last answer: {answer}. The registry has the release in Production. Check the log of the server, "
        "then clear this task."
    )


@dataclass(frozen=True)
class _State:
    """Whether the serving side is ready, and its answer or the error."""

    ready: bool
    answer: dict[str, object]


def _probe(url: str) -> _State:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - the operator's own setting
            answer = json.load(response)
    except urllib.error.HTTPError as error:
        body = error.read(2000).decode(errors="replace")
        return _State(error.code < 500, {"status": error.code, "body": body})
    except (OSError, ValueError, HTTPException) as error:
        return _State(False, {"error": str(error)})
    return _State(True, answer if isinstance(answer, dict) else {"body": answer})
