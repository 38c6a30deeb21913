"""What the end of a job means to Airflow: its result, whether to retry, and the reason in one line. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import ValidationError

from recsim_tasks.contracts import Failure, JobResult, result_model

Outcome = Literal["done", "failed", "unavailable", "refused", "rejected"]

OUTCOMES: dict[int, Outcome] = {0: "done", 1: "failed", 2: "refused", 3: "rejected"}
UNAVAILABLE = "unavailable"
# By the `error_type` of a job that ends with exit code 3; every other one was rejected.
PREFIXES = {"on_hold": "On hold", "frozen": "Frozen"}
SAME_VERSION = (
    "Jobs and Airflow plugin come from different versions of recsim: install the same version of both."
)


class VersionMismatchError(ValueError):
    """A job printed a result that this plugin does not know."""


@dataclass(frozen=True)
class JobOutput:
    """The last line of a job's stdout: a result, the description of a failure, or both."""

    result: JobResult | None = None
    failure: Failure | None = None


def parse_output(job: str, line: str) -> JobOutput | None:
    """Parse the last line of a job's stdout; None if it is not a JSON object.

    `VersionMismatchError` if the object is not a result of this job as this version of recsim defines it;
    beside a failure, that is added to the failure's sentence.
    """
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    if not isinstance(fields, dict):
        return None
    failure = Failure.model_validate(fields) if fields.keys() >= Failure.model_fields.keys() else None
    rest = {name: value for name, value in fields.items() if not failure or name not in Failure.model_fields}
    if failure and rest.keys() <= JobResult.model_fields.keys():
        return JobOutput(failure=failure)
    try:
        return JobOutput(_parse_result(job, rest), failure)
    except VersionMismatchError as error:
        if failure is None:
            raise
        return JobOutput(failure=failure.model_copy(update={"error": f"{failure.error} {error}"}))


def _parse_result(job: str, fields: Mapping[str, object]) -> JobResult:
    model = result_model(job)
    if model is None:
        raise VersionMismatchError(f"The Airflow plugin knows no job {job!r}. {SAME_VERSION}")
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))} ({fault['msg']})" for fault in error.errors()[:5]]
        raise VersionMismatchError(
            f"The result of `recsim {job}` is not what this DAG expects: {', '.join(faults)}. {SAME_VERSION}"
        ) from error


def outcome(exit_code: int, output: JobOutput | None) -> Outcome:
    """Read the exit code by the CLI's contract; any other one, such as a signal's, is `failed`."""
    if exit_code == 1 and output and output.failure and output.failure.error_type == UNAVAILABLE:
        return "unavailable"
    return OUTCOMES.get(exit_code, "failed")


def failure_reason(job: str, exit_code: int, output: JobOutput | None, last_line: str) -> str:
    """Why the job did not succeed, in one line: in its own words if it left any.

    :param last_line: the last line of its stderr
    """
    if output and output.failure:
        prefix = f"{PREFIXES.get(output.failure.error_type, 'Rejected')}: " if exit_code == 3 else ""
        return prefix + output.failure.error
    if exit_code < 0:
        memory = " Check whether the machine ran out of memory." if exit_code == -9 else ""
        return f"recsim {job} was ended by signal {-exit_code}.{memory}"
    return last_line or f"recsim {job} ended with exit code {exit_code} and no message."
