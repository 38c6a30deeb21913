"""The record of a search: its finished trials, in a file and in MLflow."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from recsim_tasks.contracts import Cursor, TuneResult
from recsim_tasks.foundation.outages import outage_behind
from recsim_tasks.foundation.progress import Advance
from recsim_tasks.foundation.publishing import write_json
from recsim_tasks.foundation.reading import read_json
from recsim_tasks.foundation.redaction import first_line
from recsim_tasks.learning.mlflow_errors import client_errors
from recsim_tasks.learning.mlflow_runs import TrackedRun, Tracker
from recsim_tasks.learning.tuning.stopping import should_stop_search
from recsim_tasks.learning.tuning.trial import METRIC, TrialResult

log = logging.getLogger(__name__)


@dataclass
class TrialRecord:
    """The finished trials: in a file, in MLflow, and as the curves that later trials are compared with."""

    path: Path
    digest: str
    tracker: Tracker
    run: TrackedRun
    cursor: Cursor
    advance: Advance = lambda _: None
    results: list[TrialResult] = field(init=False)
    curves: list[list[float]] = field(init=False)
    pending: list[tuple[int, TrialResult]] = field(init=False)
    """Numbers and results that MLflow does not have yet."""

    def __post_init__(self) -> None:
        """Resume from the trials that the file has of this search."""
        self.results = _read(self.path, self.digest)
        self.curves = [result.curve for result in self.results if not result.failed]
        logged = self.tracker.ended_children(self.run)
        numbered = enumerate(self.results, 1)
        self.pending = [(number, result) for number, result in numbered if _run_name(number) not in logged]

    def add(self, result: TrialResult) -> None:
        """Record a result, then log it; no trial is lost while MLflow is unavailable."""
        self.results.append(result)
        self.write()
        if not result.failed:
            self.curves.append(result.curve)
        self.pending.append((len(self.results), result))
        try:
            self.log_pending()
        except client_errors() as error:
            log.warning(
                "Could not log this trial to MLflow now; it will be logged later: %s", first_line(error)
            )
        self.advance(1)

    def write(self, result: TuneResult | None = None) -> None:
        """Write the file, at the end with the result of the search."""
        outcome = result.model_dump(mode="json") if result else {}
        tried = [trial.as_json() for trial in self.results]
        write_json(self.path, {**outcome, "search": self.digest, "tried": tried})

    def log_pending(self) -> None:
        """Log the trials that MLflow does not have yet."""
        while self.pending:
            self._log(*self.pending[0])
            self.pending.pop(0)

    def should_stop(self) -> bool:
        """Whether the search makes no progress."""
        return should_stop_search([curve[-1] for curve in self.curves])

    def _log(self, number: int, result: TrialResult) -> None:
        run = self.tracker.start(_run_name(number), self.cursor, result.params, self.run)
        run.log_rounds(result.rounds)
        run.set_tag("pruned", str(result.pruned).lower())
        if result.reason is not None:
            run.set_tag("reason", result.reason)
        run.end(failed=result.failed)
        outcome = result.reason if result.failed else f"{METRIC} {result.score:.4f}"
        values = ", ".join(
            f"{name} {value if isinstance(value, str) else format(value, '.4g')}"
            for name, value in result.params.items()
        )
        log.info("Trial %d: %s with %s", number, outcome, values)


def _run_name(number: int) -> str:
    return f"trial {number}"


def _read(path: Path, digest: str) -> list[TrialResult]:
    """Read the trials of this search from the file; none if it is damaged or of another search."""
    try:
        stored = read_json(path)
        return (
            [TrialResult.from_json(trial) for trial in stored["tried"]] if stored["search"] == digest else []
        )
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        if outage := outage_behind(error, str(path)):
            raise outage from error
        log.warning("%s cannot be read: %r. The search starts from the beginning.", path, error)
        return []
