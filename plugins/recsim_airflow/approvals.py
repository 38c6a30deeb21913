"""Operators that ask a person: about a feed on hold, and about a release before its promotion."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk import Context
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowSkipException

from recsim_airflow.approval_texts import feed_question, release_question
from recsim_airflow.links import mlflow_page
from recsim_airflow.status_line import STATUS_LINE_TEMPLATE, fail_without_retry, set_status_line
from recsim_tasks.contracts import EvaluateResult, FeedOnHold, IngestResult, RegisterResult
from recsim_tasks.foundation.settings import load_settings


@dataclass(frozen=True)
class Response:
    """What a person decided."""

    approved: bool
    by: str
    at: str
    """ISO 8601 with time zone."""


@dataclass(frozen=True)
class FeedDecision:
    """The XCom of `FeedApprovalOperator`."""

    answer: Literal["accept", "refuse"]
    feed_id: str
    digest: str
    by: str
    at: str


@dataclass(frozen=True)
class ReleaseDecision:
    """The XCom of `ReleaseApprovalOperator`; all None when the run needs no approval."""

    answer: Literal["approve", "reject"] | None = None
    by: str | None = None
    at: str | None = None


class PersonApprovalOperator(ApprovalOperator):
    """Wait for *Approve* or *Reject*, without a worker, and continue after both.

    `ApprovalOperator` skips what follows a rejection. Here a rejection is work too: a later task carries it
    out. There is no default answer: without one until `response_timeout` the task fails, and a person can be
    asked again.
    """

    ui_color = "#fdf3d8"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(map_index_template=STATUS_LINE_TEMPLATE, **kwargs)

    def ask(self, context: Context, subject: str, body: str) -> Any:
        """Put the question, and leave the worker until there is an answer."""
        self.subject, self.body = subject, body
        return super().execute(context)

    def read_response(
        self, context: Context, event: dict[str, Any], *, question: str, next_step: str
    ) -> Response:
        """The answer in `event`; if there is none, fail, and name the `question` and the `next_step`."""
        if event.get("error_type") == "timeout":
            hours = self.response_timeout.total_seconds() / 3600 if self.response_timeout else 0
            fail_without_retry(context, f"{question} was not answered within {hours:g} h. {next_step}")
        if "error" in event:
            fail_without_retry(context, f"{question} failed in Airflow: {event['error']}. {next_step}")
        response = HITLOperator.execute_complete(self, context, event)
        at: datetime = response["responded_at"]
        approved = response["chosen_options"] == [self.APPROVE]
        return Response(approved, user_name(response["responded_by_user"]), at.isoformat())


class FeedApprovalOperator(PersonApprovalOperator):
    """Ask a person whether to apply a feed that a guard has put on hold; skip if no feed is on hold.

    The XCom is a `FeedDecision`. Without an answer the task fails, and the feed stays in the inbox.

    :param ingest_task: id of the task that ran the job `ingest`, with `succeed_on_hold`

    .. code-block:: python

        ingest = RecsimJobOperator(task_id="ingest", job="ingest", succeed_on_hold=True)
        approve = FeedApprovalOperator(task_id="approve", ingest_task="ingest")
        answer = RecsimJobOperator(task_id="answer", job="ingest", arguments=approve.job_arguments)
        ingest >> approve >> answer
    """

    def __init__(self, *, ingest_task: str, **kwargs: Any) -> None:
        super().__init__(subject="Feed on hold: review required", **kwargs)
        self.ingest_task = ingest_task

    @property
    def job_arguments(self) -> list[str]:
        """The arguments with which the job `ingest` carries out the decision (templated)."""
        decision = f"ti.xcom_pull(task_ids='{self.task_id}')"
        return [
            _template(f"'--accept' if {decision}['answer'] == 'accept' else '--refuse'"),
            _template(f"{decision}['digest']"),
            "--by",
            _template(f"{decision}['by']"),
        ]

    def execute(self, context: Context) -> Any:
        """Ask about the feed."""
        feed = self._feed(context)
        if feed is None:
            set_status_line(context, "No feed is on hold.")
            raise AirflowSkipException("No feed is on hold.")
        return self.ask(context, f"Feed {feed.feed_id} is on hold: apply it?", feed_question(feed))

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, str | None]:
        """Return the decision."""
        feed = self._feed(context)
        assert feed is not None
        response = self.read_response(
            context,
            event,
            question=f"On hold: the question about feed {feed.feed_id}",
            next_step="It stays in the inbox. Clear this task, or wait for the next run, to be asked again.",
        )
        verb = "accepted" if response.approved else "refused"
        set_status_line(context, f"{response.by} {verb} feed {feed.feed_id}.")
        answer: Literal["accept", "refuse"] = "accept" if response.approved else "refuse"
        return asdict(FeedDecision(answer, feed.feed_id, feed.digest, response.by, response.at))

    def _feed(self, context: Context) -> FeedOnHold | None:
        return IngestResult.model_validate(context["ti"].xcom_pull(task_ids=self.ingest_task)).on_hold


class ReleaseApprovalOperator(PersonApprovalOperator):
    """Ask a person whether to promote a release that passed the gate, if the run needs an approval.

    The XCom is a `ReleaseDecision`. The job `promote` writes either answer into the registry, so that no
    later run can overlook a rejection. Without an answer the task fails, and the release stays in Staging.

    :param approval: `ask` to ask a person, `none` to continue without one (templated)
    :param evaluate_task: id of the task that ran the job `evaluate`
    :param register_task: id of the task that ran the job `register`
    """

    template_fields = (*ApprovalOperator.template_fields, "approval")

    def __init__(self, *, approval: str, evaluate_task: str, register_task: str, **kwargs: Any) -> None:
        super().__init__(subject="Release ready: approval required", **kwargs)
        self.approval = approval
        self.evaluate_task = evaluate_task
        self.register_task = register_task

    @property
    def job_arguments(self) -> list[str]:
        """The arguments with which the job `promote` carries out the decision (templated).

        The refresh itself decides if the run needs no approval. If this task was marked as a success instead
        of answered, no time is passed, and `promote` refuses.
        """
        decision = f"(ti.xcom_pull(task_ids='{self.task_id}') or {{}})"
        return [
            "--by",
            _template(f"{decision}.get('by') or 'refresh'"),
            "--through=airflow",
            f"{{% set at = {decision}.get('at') %}}" + _template("'--answered-at=' ~ at if at"),
            _template(f"'--reject' if {decision}.get('answer') == 'reject'"),
        ]

    def execute(self, context: Context) -> Any:
        """Ask about the release."""
        if self.approval != "ask":
            set_status_line(context, "This run needs no approval.")
            return asdict(ReleaseDecision())
        release = self._release(context)
        evaluation = EvaluateResult.model_validate(context["ti"].xcom_pull(task_ids=self.evaluate_task))
        page = mlflow_page(load_settings().tracking_uri, release.model_dump())
        return self.ask(
            context,
            f"Release {release.version}: promote it to Production?",
            release_question(evaluation.rules, page),
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, str | None]:
        """Return the decision."""
        version = self._release(context).version
        response = self.read_response(
            context,
            event,
            question=f"The question about release {version}",
            next_step="The release stays in Staging. To be asked again, clear this task.",
        )
        set_status_line(
            context, f"{response.by} {'approved' if response.approved else 'rejected'} release {version}."
        )
        return asdict(ReleaseDecision("approve" if response.approved else "reject", response.by, response.at))

    def _release(self, context: Context) -> RegisterResult:
        return RegisterResult.model_validate(context["ti"].xcom_pull(task_ids=self.register_task))


def user_name(user: Any) -> str:
    """The name of the user who answered, else the id."""
    if isinstance(user, dict):
        return str(user.get("name") or user.get("id") or "unknown")
    return str(getattr(user, "name", None) or getattr(user, "id", None) or "unknown")


def configured_approvers() -> list[dict[str, str]] | None:
    """Users who may answer, from `[recsim] approvers` of the Airflow configuration (`id:name, id:name`).

    None if it is not set: everyone who may edit the run may answer.
    """
    pairs = [
        pair.strip().partition(":") for pair in str(conf.get("recsim", "approvers", fallback="")).split(",")
    ]
    return [
        {"id": user.strip(), "name": name.strip() or user.strip()} for user, _, name in pairs if user.strip()
    ] or None


def _template(expression: str) -> str:
    return "{{ " + expression + " }}"
