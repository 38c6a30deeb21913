"""Run one job: settings, result, errors, exit code."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable

from recsim_tasks.contracts import Failure, JobResult
from recsim_tasks.foundation.errors import BlockedError, ConfigurationError, RecsimError
from recsim_tasks.foundation.outages import diagnose, outage_behind
from recsim_tasks.foundation.processes import die_with
from recsim_tasks.foundation.redaction import redacted
from recsim_tasks.foundation.settings import Settings, load_settings, parent_pid
from recsim_tasks.foundation.text import one_line
from recsim_tasks.refresh.workspace import Workspace

log = logging.getLogger(__name__)
Work = Callable[[Settings], JobResult | None]
Step = Callable[[Settings, Workspace], JobResult]

SERVICE = "A service that this job needs"


def run(name: str, work: Work, refresh: str | None = None) -> None:
    """Do `work`, print its result on the last line of stdout, and exit with the code of the contract.

    A server has no result and prints `{}`. With a `refresh`, its workspace keeps the result. Exit codes: 0
    done; 1 failed or unavailable, a retry may help; 2 bad input or configuration, or something does not
    exist; 3 rejected or on hold. The reason is also the last line of stderr.
    """
    settings: Settings | None = None
    try:
        if parent := parent_pid():
            die_with(parent)
        settings = load_settings()
        # A bad id is refused before any work.
        workspace = None if refresh is None else Workspace.of(settings, refresh)
        line, code = _done(work, settings, workspace), 0
    except Exception as error:
        failure = _meaning(error, _place(settings))
        line, code = _failed(name, failure), failure.exit_code
    sys.stderr.flush()
    print(redacted(line), flush=True)
    raise SystemExit(code)


def _done(work: Work, settings: Settings, workspace: Workspace | None) -> str:
    """The result in JSON with the time that it took; also kept in the workspace."""
    started = time.monotonic()
    result = work(settings)
    if result is None:
        return "{}"
    result = result.model_copy(update={"elapsed_seconds": round(time.monotonic() - started, 1)})
    if workspace:
        workspace.keep(result)
    return result.model_dump_json()


def run_step(name: str, refresh: str, step: Step) -> None:
    """Run one step of a refresh; it finds the results of the steps before it in the workspace."""
    run(name, lambda settings: step(settings, Workspace.of(settings, refresh)), refresh)


def _meaning(error: Exception, place: str) -> RecsimError:
    """Translate `error` for the reader: an outage is never a verdict, and an unknown error is a bug."""
    if isinstance(error, RecsimError):
        return (
            outage_behind(error, place) if error.exit_code == ConfigurationError.exit_code else None
        ) or error
    if known := diagnose(error, place, SERVICE):
        return known
    log.error("Unexpected error", exc_info=error)
    return RecsimError(
        f"{_cause(error)}. This is a bug, or a fault of the machine; the traceback above shows where."
    )


def _place(settings: Settings | None) -> str:
    return f"{settings.home.absolute()} (RECSIM_HOME) or TMPDIR" if settings else "RECSIM_HOME or TMPDIR"


def _cause(error: Exception) -> str:
    """The error in one line; of a JVM error, whose first line names only the call, the innermost cause."""
    lines = f"{type(error).__name__}: {error}".splitlines()
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return (causes or lines[:1])[-1].rstrip(".")


def _failed(name: str, error: RecsimError) -> str:
    """The failure in JSON, with the result of a job that was blocked."""
    sentence = redacted(one_line(error))
    log.error("recsim %s: %s", name, sentence)
    result = error.result if isinstance(error, BlockedError) else {}
    failure = Failure(error=sentence, error_type=error.error_type, exit_code=error.exit_code)
    return json.dumps({**result, **failure.model_dump()}, default=str)
