from __future__ import annotations

import json
from typing import Any

import pytest

from recsim_airflow.results import JobOutput, VersionMismatchError, failure_reason, outcome, parse_output
from recsim_tasks.contracts import EmbedResult, Failure, GateResult

EMBEDDED = {"embedded": 1, "reused": 2, "of": 3, "unembeddable": 0}
UNAVAILABLE = {"error": "MLflow does not answer.", "error_type": "unavailable", "exit_code": 1}
REJECTED = {"error": "Precision@1 fell.", "error_type": "rejected", "exit_code": 3}
GATE = {"version": 7, "verdict": "rejected", "reasons": ["Precision@1 fell."], "mlflow_page": "runs/1"}


def failed(**fields: Any) -> JobOutput:
    return JobOutput(failure=Failure.model_validate(fields))


def test_a_result_is_parsed_into_the_model_of_its_job() -> None:
    assert parse_output("embed", json.dumps(EMBEDDED)) == JobOutput(EmbedResult.model_validate(EMBEDDED))


def test_a_result_of_another_version_does_not_hide_a_failure() -> None:
    output = parse_output("gate", json.dumps({**GATE, **REJECTED, "version": "seven"}))
    assert output is not None
    assert output.result is None
    assert output.failure is not None
    assert output.failure.error.startswith("Precision@1 fell. The result of `recsim gate` is not what")


def test_a_failure_may_have_the_time_that_the_job_took() -> None:
    timed = json.dumps({**UNAVAILABLE, "elapsed_seconds": 1.5})
    assert parse_output("embed", timed) == failed(**UNAVAILABLE)


def test_a_failure_is_parsed_with_the_result_that_comes_with_it() -> None:
    assert parse_output("gate", json.dumps({**GATE, **REJECTED})) == JobOutput(
        GateResult.model_validate(GATE), Failure.model_validate(REJECTED)
    )
    assert parse_output("embed", json.dumps(UNAVAILABLE)) == failed(**UNAVAILABLE)


@pytest.mark.parametrize("line", ["", "[1]", "3", "done.", '{"a": '])
def test_a_line_that_is_not_a_json_object_is_not_a_result(line: str) -> None:
    assert parse_output("embed", line) is None


@pytest.mark.parametrize(
    ("job", "fields", "fault"),
    [
        ("embed", {**EMBEDDED, "sped_up": True}, r"sped_up \(Extra inputs"),
        ("embed", {"embedded": 1}, r"reused \(Field required"),
        ("levitate", EMBEDDED, "knows no job 'levitate'"),
    ],
)
def test_a_result_of_another_version_of_recsim_is_refused_by_field(
    job: str, fields: dict[str, Any], fault: str
) -> None:
    with pytest.raises(VersionMismatchError, match=f"{fault}.*install the same version"):
        parse_output(job, json.dumps(fields))


@pytest.mark.parametrize(
    ("exit_code", "output", "last_line", "reason"),
    [
        (2, failed(error="No manifest in /f. Write it.", error_type="input", exit_code=2), "noise", None),
        (1, failed(**UNAVAILABLE), "", "MLflow does not answer."),
        (3, failed(**REJECTED), "", "Rejected: Precision@1 fell."),
        (3, failed(**{**REJECTED, "error_type": "on_hold"}), "", "On hold: Precision@1 fell."),
        (3, failed(**{**REJECTED, "error_type": "frozen"}), "", "Frozen: Precision@1 fell."),
        (1, None, "RuntimeError: out of coffee", "RuntimeError: out of coffee"),
        (1, None, "", "recsim tune ended with exit code 1 and no message."),
        (-9, None, "x", "recsim tune was ended by signal 9. Check whether the machine ran out of memory."),
        (-15, None, "x", "recsim tune was ended by signal 15."),
    ],
)
def test_the_reason_of_a_failure_is_the_jobs_own_sentence(
    exit_code: int, output: JobOutput | None, last_line: str, reason: str | None
) -> None:
    assert failure_reason("tune", exit_code, output, last_line) == (reason or "No manifest in /f. Write it.")


def test_exit_codes_mean_what_the_contract_says() -> None:
    codes = {0: "done", 1: "failed", 2: "refused", 3: "rejected", -9: "failed", 137: "failed"}
    assert {code: outcome(code, None) for code in codes} == codes


def test_an_outage_is_told_apart_from_a_failure_by_the_type_of_the_error() -> None:
    assert outcome(1, failed(**UNAVAILABLE)) == "unavailable"
    assert outcome(1, failed(**{**UNAVAILABLE, "error_type": "failed"})) == outcome(1, None) == "failed"
    assert outcome(2, failed(**UNAVAILABLE)) == "refused"
