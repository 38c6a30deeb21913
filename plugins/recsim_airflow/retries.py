"""How often a task is retried: until its time limit in an outage, else a small number of times.

Airflow asks a retry policy after each try, but never goes beyond `retries`, which is therefore large here. It
does not ask the policy when a task's process is killed, so each try begins with a look at the earlier ones.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

from airflow.sdk import Context
from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy

from recsim_airflow.commits import UnreadableTableError
from recsim_airflow.operators import JobUnavailableError
from recsim_airflow.status_line import fail_without_retry

log = logging.getLogger(__name__)

OUTAGES = (JobUnavailableError, UnreadableTableError)
# Between tries, seconds: the first delay is doubled up to the longest.
FIRST_DELAY, LONGEST_DELAY = 30.0, 600.0
# More tries than the time limit of the longest task allows.
MAX_TRIES = 60
TRIES_KEY = "tries"


class OutageRetryPolicy(RetryPolicy):
    """Retry an outage until the task's `execution_timeout`, counted from its first try.

    :param failure_retries: retries of a failure that is not an outage
    """

    def __init__(self, failure_retries: int = 2) -> None:
        self.failure_retries = failure_retries

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,  # noqa: ARG002 - Airflow's signature
        context: Context | None = None,
    ) -> RetryDecision:
        """Decide by the exception of the failed try."""
        assert context is not None
        tries = Tries.load(context)
        if isinstance(exception, OUTAGES):
            return self._retry_outage(tries, exception, context)
        failed = tries.failed(try_number)
        if failed >= self.failure_retries:
            return _give_up(f"Gave up after {failed + 1} failed tries.")
        return _retry(_delay(failed), exception)

    def _retry_outage(self, tries: Tries, exception: BaseException, context: Context) -> RetryDecision:
        limit: timedelta | None = context["task"].execution_timeout
        left = tries.began + limit.total_seconds() - time.time() if limit else LONGEST_DELAY
        if left <= 0:
            return _give_up(f"Gave up: the outage lasted for the whole time limit of this task, {limit}.")
        replace(tries, outages=tries.outages + 1).save(context)
        return _retry(min(_delay(tries.outages), left), exception)


def _delay(earlier: int) -> float:
    return min(FIRST_DELAY * 2.0**earlier, LONGEST_DELAY)


def _retry(delay: float, exception: BaseException) -> RetryDecision:
    reason = f"Retry in {delay:.0f} s: {exception}"
    log.warning("%s", reason)  # Airflow's own line does not include the reason
    return RetryDecision.retry(timedelta(seconds=delay), reason)


def _give_up(reason: str) -> RetryDecision:
    log.error("%s", reason)
    return RetryDecision.fail(reason)


@dataclass(frozen=True)
class Tries:
    """The tries of a task since it was scheduled or cleared, kept in its state store."""

    max_tries: int
    """Airflow's limit. A clear raises it, and the count starts again."""
    first: int
    """Number of the first try."""
    began: float
    """Start of the first try, in seconds since the epoch."""
    outages: int = 0
    """Tries that ended with an outage."""

    @classmethod
    def load(cls, context: Context) -> Tries:
        """The stored count, or a new one that starts with this try."""
        ti: Any = context["ti"]
        stored: Any = context["task_state_store"].get(TRIES_KEY)
        if stored and stored["max_tries"] == ti.max_tries:
            return cls(**stored)
        return cls(ti.max_tries, ti.try_number, time.time())

    def save(self, context: Context) -> None:
        """Store the count for the next try."""
        context["task_state_store"].set(TRIES_KEY, asdict(self))

    def failed(self, try_number: int) -> int:
        """Number of tries before `try_number` that failed or were killed without an outage."""
        return try_number - self.first - self.outages


def begin_try(context: Context) -> None:
    """Record the time of the first try; fail if too many earlier tries failed or were killed."""
    tries, policy = Tries.load(context), context["task"].retry_policy
    tries.save(context)
    failed = tries.failed(context["ti"].try_number)
    if isinstance(policy, OutageRetryPolicy) and failed > policy.failure_retries:
        fail_without_retry(
            context,
            f"Gave up: {failed} tries failed or were killed. "
            "Check their logs and the memory of the machine, then clear this task.",
        )


# Part of the `default_args` of every DAG. The delays apply where no policy is asked, after a kill.
RETRIES: Mapping[str, object] = {
    "retries": MAX_TRIES,
    "retry_policy": OutageRetryPolicy(),
    "retry_delay": timedelta(seconds=FIRST_DELAY),
    "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(seconds=LONGEST_DELAY),
    "pre_execute": begin_try,
}
