from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from recsim_airflow.approvals import (
    HeldFeedApprovalOperator,
    ReleaseApprovalOperator,
    plain,
    question,
    release_question,
    who,
)

pytestmark = pytest.mark.airflow

FIGURE = {
    "guard": "max_withdrawn_share",
    "value": 0.9,
    "limit": 0.5,
    "sentence": "The feed would withdraw 900 of 1,000 products (90%); RECSIM_MAX_WITHDRAWN_SHARE allows 50%.",
}
HELD = {"feed_id": "full-7", "digest": "0123456789abcdef" * 4, "folder": "/inbox/full-7", "figures": [FIGURE]}
ADMIN = {"id": "1", "name": "admin"}


class FakeTaskInstance:
    def __init__(self, **results: Any) -> None:
        self.results = results

    def xcom_push(self, key: str, value: Any) -> None: ...

    def xcom_pull(self, task_ids: str) -> Any:
        return self.results[task_ids]


def context(ingest: Any) -> Any:
    return {"ti": FakeTaskInstance(ingest=ingest)}


def approval() -> HeldFeedApprovalOperator:
    return HeldFeedApprovalOperator(
        task_id="approve_feed", ingest_task="ingest", response_timeout=timedelta(hours=8)
    )


def answered(option: str) -> dict[str, Any]:
    at = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    return {"chosen_options": [option], "params_input": {}, "responded_at": at, "responded_by_user": ADMIN}


@pytest.mark.parametrize("ingest", [None, {"applied": True}, {"on_hold": None}])
def test_nobody_is_asked_when_no_feed_is_held(ingest: Any) -> None:
    with pytest.raises(AirflowSkipException):
        approval().execute(context(ingest))


@pytest.mark.parametrize(
    ("option", "answer", "said"), [("Approve", "accept", "accepted"), ("Reject", "refuse", "refused")]
)
def test_both_answers_go_on_with_the_feed_and_who_answered(option: str, answer: str, said: str) -> None:
    around = context({"on_hold": HELD})
    assert approval().execute_complete(around, answered(option)) == {
        "answer": answer,
        "feed_id": "full-7",
        "digest": HELD["digest"],
        "by": "admin",
        "at": "2026-01-02T03:04:00+00:00",
    }
    assert around["reason"] == f"{said} by admin: feed full-7"


def test_no_answer_fails_for_good_and_says_what_to_do() -> None:
    around = context({"on_hold": HELD})
    with pytest.raises(AirflowFailException, match=r"^Held: nobody answered about feed full-7 for 8 h\."):
        approval().execute_complete(around, {"error": "timeout has passed", "error_type": "timeout"})
    assert around["reason"].endswith("to be asked again.")


def test_there_is_no_default_answer() -> None:
    assert approval().defaults is None


def test_the_question_has_every_figure_and_names_the_feed() -> None:
    text = question(HELD)
    for part in (
        "900 of 1,000 products",
        "90.0%",
        "50.0%",
        "| withdrawn share |",
        plain("full-7"),
        "0123456789abcdef",
    ):
        assert part in text


def test_what_a_feed_says_of_itself_is_shown_letter_by_letter() -> None:
    sentence = "Category '[x](http://evil) <img src=x>\n# big | **bold** $a$ \x1b[31m' moves."
    shown = question({**HELD, "figures": [{**FIGURE, "sentence": sentence}]})
    assert "](http" not in shown
    assert "\n# big" not in shown
    assert r"\[x\]\(http\:\/\/evil\) \<img src=x\> \# big \| \*\*bold\*\* \$a\$ \\x1b\[31m" in shown


def test_the_question_says_why_most_rows_cannot_be_taken() -> None:
    reason = {
        "reason": "price … is not a number",
        "rows": 1_250,
        "example": "p1: price '15.00 | USD' is not a number",
    }
    assert rf"| 1,250 | price … is not a number | {plain(reason['example'])} |" in question(
        {**HELD, "row_reasons": [reason]}
    )
    assert "for example" not in question(HELD)


def test_who_answered_is_named() -> None:
    assert who(ADMIN) == "admin"
    assert who({"id": "7", "name": None}) == "7"


RULE = {
    "rule": "Precision@1 no worse than the champion",
    "challenger": 0.81234,
    "champion": 0.79,
    "difference": {"mean": 0.01, "low": -0.002, "high": 0.018},
    "limit": "at most 0.02 lower",
}
SIZE = {
    "rule": "Every product is found",
    "challenger": 1.0,
    "champion": None,
    "difference": None,
    "limit": "at least 0.999",
}


def release_approval(asked: str) -> ReleaseApprovalOperator:
    return ReleaseApprovalOperator(
        task_id="approve",
        asked=asked,
        evaluate_task="evaluate",
        register_task="register",
        response_timeout=timedelta(hours=8),
    )


def registered() -> Any:
    return {"ti": FakeTaskInstance(register={"version": 7}, evaluate={"verdict": "pass", "rules": [RULE]})}


def test_a_run_that_does_not_ask_goes_on_in_nobodys_name() -> None:
    around = registered()
    assert release_approval("none").execute(around) == {"answer": None, "by": None, "at": None}
    assert around["reason"] == "this run does not ask"


@pytest.mark.parametrize(
    ("option", "answer", "said"), [("Approve", "approve", "approved"), ("Reject", "reject", "rejected")]
)
def test_both_answers_about_a_release_are_handed_on_with_who_gave_them(
    option: str, answer: str, said: str
) -> None:
    around = registered()
    told = release_approval("ask").execute_complete(around, answered(option))
    assert told == {"answer": answer, "by": "admin", "at": "2026-01-02T03:04:00+00:00"}
    assert around["reason"] == f"{said} by admin: release 7"


def test_no_answer_about_a_release_is_no_rejection_and_can_be_asked_for_again() -> None:
    around = registered()
    with pytest.raises(
        AirflowFailException,
        match=r"^Held: nobody answered for release 7 within 8 h\. It stays in Staging; clear this",
    ):
        release_approval("ask").execute_complete(
            around, {"error": "timeout has passed", "error_type": "timeout"}
        )
    assert "stays in Staging" in around["reason"]


def test_the_question_about_a_release_has_every_rule_and_leads_to_what_it_answers() -> None:
    text = release_question({"rules": [RULE, SIZE]}, "http://mlflow:5000/#/verdict")
    assert "| Precision@1 no worse than the champion | 0.8123 | 0.79 | +0.0100 (-0.0020 to +0.0180) |" in text
    assert "| Every product is found | 1 |  |  |" in text
    assert "](http://mlflow:5000/#/verdict)" in text
    assert "](" not in release_question({"rules": [RULE]}, "")
