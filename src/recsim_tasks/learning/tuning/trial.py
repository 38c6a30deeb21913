"""One trial of the search: a short training with one set of hyperparameters, on one device."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from recsim_tasks.foundation.errors import RecsimError, UnavailableError
from recsim_tasks.foundation.logging import configure
from recsim_tasks.foundation.redaction import first_line, redacted
from recsim_tasks.learning.devices import acquire_device, cpu_count
from recsim_tasks.learning.hyperparameters import Hyperparameters, Value
from recsim_tasks.learning.spec import TrainingSpec, ValidationResult
from recsim_tasks.learning.tensorflow_runtime import tensorflow
from recsim_tasks.learning.training.communicator import SingleProcess
from recsim_tasks.learning.training.loop import FitOptions, fit
from recsim_tasks.learning.training.training_data import TrainingData
from recsim_tasks.learning.tuning.stopping import should_stop_trial

log = logging.getLogger(__name__)

METRIC = "map_at_r"
OK, FAILED = "ok", "fail"  # as Hyperopt spells them


@dataclass(frozen=True)
class TrialResult:
    """What a trial tried and how it went: its rounds or, if it failed, the reason."""

    params: Mapping[str, Value]
    rounds: tuple[ValidationResult, ...] = ()
    pruned: bool = False
    """Whether it was stopped early."""
    reason: str | None = None
    unavailable: bool = False
    """Whether the reason is an outage, which says nothing about `params`."""

    @property
    def failed(self) -> bool:
        """Whether there is no score."""
        return self.reason is not None

    @property
    def curve(self) -> list[float]:
        """The score after each round."""
        return [float(getattr(r, METRIC)) for r in self.rounds]

    @property
    def score(self) -> float:
        """The score after the last round."""
        return self.curve[-1]

    def as_json(self) -> dict[str, object]:
        """The form that trials.json carries, which is also the one that Hyperopt understands."""
        if self.failed:
            outage = {"unavailable": True} if self.unavailable else {}
            return {"status": FAILED, "reason": self.reason, "params": dict(self.params), **outage}
        rounds = [asdict(r) for r in self.rounds]
        outcome = {"status": OK, "loss": -self.score, "rounds": rounds, "pruned": self.pruned}
        return {**outcome, "params": dict(self.params)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TrialResult:
        """Read the form of `as_json`."""
        if value["status"] != OK:
            unavailable = bool(value.get("unavailable"))
            return cls(value["params"], reason=str(value["reason"]), unavailable=unavailable)
        rounds = tuple(ValidationResult(**r) for r in value["rounds"])
        return cls(value["params"], rounds, bool(value["pruned"]))


def run_trial(
    spec: TrainingSpec,
    data: TrainingData,
    hyperparameters: Hyperparameters,
    finished: Sequence[Sequence[float]],
) -> TrialResult:
    """Run a trial; `finished` has the curves of the trials that ended before it began.

    An error is a failed trial with its reason, not a failed search; an outage is marked as such.
    """
    configure()  # a Spark worker is a process of its own
    resources, params = spec.resources, hyperparameters.as_json()
    try:
        with acquire_device(resources.home, gpus=resources.gpus, shares=resources.concurrency):
            tensorflow(
                max(1, cpu_count() // resources.concurrency),
                gpus=resources.gpus,
                deterministic=resources.deterministic,
            )
            rounds = _train(replace(spec, hyperparameters=hyperparameters), data, finished)
    except RecsimError as error:
        unavailable = isinstance(error, UnavailableError)
        return TrialResult(params, reason=redacted(str(error)), unavailable=unavailable)
    except Exception as error:
        log.error("A trial failed", exc_info=error)
        return TrialResult(params, reason=f"{type(error).__name__}: {first_line(error)}")
    return TrialResult(params, tuple(rounds), pruned=len(rounds) < spec.rounds)


def _train(
    spec: TrainingSpec, data: TrainingData, finished: Sequence[Sequence[float]]
) -> list[ValidationResult]:
    def on_round(rounds: list[ValidationResult]) -> bool:
        stop = should_stop_trial([getattr(r, METRIC) for r in rounds], finished)
        if stop:
            log.info(
                "The trial ends after %d of %d rounds: it is below the median of the others",
                len(rounds),
                spec.rounds,
            )
        return not stop

    chosen = spec.hyperparameters
    label = f"Trial with {chosen.pair_loss}, learning rate {chosen.learning_rate:.2g}"
    _, rounds = fit(spec, SingleProcess(), data, FitOptions(label, on_round=on_round))
    return rounds
