from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from plugins.airflow_fakes import FakeTaskInstance, fake_context
from recsim_airflow.approvals import FeedApprovalOperator, ReleaseApprovalOperator, user_name
from recsim_tasks.contracts import FeedOnHold, IngestResult, RegisterResult

pytestmark = pytest.mark.airflow

FEED = FeedOnHold(feed_id="full-7", digest="0123", folder="/inbox/full-7", figures=[], row_reasons=[])
ADMIN = {"id": "1", "name": "admin"}
NO_ANSWER = {"error": "timeout has passed", "error_type": "timeout"}


def ingested(on_hold: FeedOnHold | None) -> Any:
    result = IngestResult(feed_id="f", applied=True, table_version=3, on_hold=on_hold)
    return fake_context(FakeTaskInstance(ingest=result.model_dump(mode="json")))


def feed_approval() -> FeedApprovalOperator:
    return FeedApprovalOperator(
        task_id="approve_feed", ingest_task="ingest", response_timeout=timedelta(hours=8)
    )


def response(option: str) -> dict[str, Any]:
    at = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    return {"chosen_options": [option], "params_input": {}, "responded_at": at, "responded_by_user": ADMIN}


def test_the_task_is_skipped_when_no_feed_is_on_hold() -> None:
    with pytest.raises(AirflowSkipException):
        feed_approval().execute(ingested(None))


@pytest.mark.parametrize(
    ("option", "answer", "verb"), [("Approve", "accept", "accepted"), ("Reject", "refuse", "refused")]
)
def test_both_answers_continue_with_the_feed_and_the_name_of_the_person(
    option: str, answer: str, verb: str
) -> None:
    context = ingested(FEED)
    assert feed_approval().execute_complete(context, response(option)) == {
        "answer": answer,
        "feed_id": "full-7",
        "digest": "0123",
        "by": "admin",
        "at": "2026-01-02T03:04:00+00:00",
    }
    assert context["reason"] == f"admin {verb} feed full-7."


def test_without_an_answer_the_feed_stays_on_hold_and_the_task_fails_for_good() -> None:
    context = ingested(FEED)
    with pytest.raises(
        AirflowFailException, match=r"^On hold: the question about feed full-7 was not answered within 8 h\."
    ):
        feed_approval().execute_complete(context, NO_ANSWER)
    assert context["reason"].endswith("Clear this task, or wait for the next run, to be asked again.")


@pytest.mark.parametrize("error_type", ["unknown", "validation"])
def test_an_answer_that_airflow_cannot_read_is_not_called_a_late_one(error_type: str) -> None:
    context = registered()
    event = {"error": "params_input is invalid", "error_type": error_type}
    with pytest.raises(
        AirflowFailException, match=r"^The question about release 7 failed in Airflow: params"
    ):
        release_approval("ask").execute_complete(context, event)
    assert "was not answered" not in context["reason"]


def test_there_is_no_default_answer() -> None:
    assert feed_approval().defaults is None
    assert release_approval("ask").defaults is None


@pytest.mark.parametrize(
    ("user", "name"),
    [
        (ADMIN, "admin"),
        ({"id": "7", "name": None}, "7"),
        (SimpleNamespace(id="7", name="ada"), "ada"),
        (None, "unknown"),
    ],
)
def test_the_person_is_named_by_name_else_by_id(user: Any, name: str) -> None:
    assert user_name(user) == name


def release_approval(approval: str) -> ReleaseApprovalOperator:
    return ReleaseApprovalOperator(
        task_id="approve",
        approval=approval,
        evaluate_task="evaluate",
        register_task="register",
        response_timeout=timedelta(hours=8),
    )


def registered() -> Any:
    release = RegisterResult(version=7, previous=6, stage="Staging", verdict="passed", mlflow_page="runs/1")
    return fake_context(FakeTaskInstance(register=release.model_dump(mode="json")))


def test_a_run_that_needs_no_approval_continues_without_a_name() -> None:
    context = registered()
    assert release_approval("none").execute(context) == {"answer": None, "by": None, "at": None}
    assert context["reason"] == "This run needs no approval."


@pytest.mark.parametrize(
    ("option", "answer", "verb"), [("Approve", "approve", "approved"), ("Reject", "reject", "rejected")]
)
def test_both_answers_about_a_release_continue_with_the_name_of_the_person(
    option: str, answer: str, verb: str
) -> None:
    context = registered()
    decision = release_approval("ask").execute_complete(context, response(option))
    assert decision == {"answer": answer, "by": "admin", "at": "2026-01-02T03:04:00+00:00"}
    assert context["reason"] == f"admin {verb} release 7."


def test_without_an_answer_the_release_stays_in_staging_and_is_not_rejected() -> None:
    context = registered()
    with pytest.raises(
        AirflowFailException,
        match=r"^The question about release 7 was not answered within 8 h\. The release stays in Staging\.",
    ):
        release_approval("ask").execute_complete(context, NO_ANSWER)
    assert context["reason"].endswith("To be asked again, clear this task.")
