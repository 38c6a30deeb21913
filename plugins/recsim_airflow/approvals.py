"""Questions to people, with the figures in front of them: about a feed that a guard holds, about a release before its promotion."""

from __future__ import annotations

import re
from typing import Any, NoReturn

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk import Context
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from recsim_airflow.links import mlflow_page
from recsim_airflow.status import REASON_COLUMN, give_reason
from recsim_tasks.foundation.settings import load_settings
from recsim_tasks.foundation.text import one_line

# What a feed says of itself is shown as it is: nothing of it may become a link, a picture or a heading.
MARKUP = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~&$:/])")


class HeldFeedApprovalOperator(ApprovalOperator):
    """Wait for somebody's answer about the feed that `ingest` handed on as held; skip when it held none.

    Both answers go on: the result says how (`accept` or `refuse`), which feed (`feed_id`, `digest`), `by` whom and when (`at`).
    There is no default, so that no answer is none: it fails, and the feed waits on in the inbox.

    :param ingest_task: id of the task whose result may have a feed `on_hold`
    """

    ui_color = "#fdf3d8"

    def __init__(self, *, ingest_task: str, **kwargs: Any) -> None:
        super().__init__(subject="A feed waits to be looked at", map_index_template=REASON_COLUMN, **kwargs)
        self.ingest_task = ingest_task

    def execute(self, context: Context) -> Any:
        """Put the question, and leave the worker until it is answered."""
        held = self._held(context)
        if held is None:
            give_reason(context, "no feed was held")
            raise AirflowSkipException("No feed was held.")
        self.subject = f"Feed {held['feed_id']} waits: take it in?"
        self.body = question(held)
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Hand on the answer. `ApprovalOperator` would skip what follows a rejection, but refusing a feed is work too."""
        held = self._held(context) or {}
        if "error" in event:
            hours = self.response_timeout.total_seconds() / 3600 if self.response_timeout else 0
            reason = f"Held: nobody answered about feed {held['feed_id']} for {hours:g} h. It waits in the inbox; clear this task, or wait for the next refresh, to be asked again."
            give_reason(context, reason)
            raise AirflowFailException(reason)
        answer = HITLOperator.execute_complete(self, context, event)
        accepts = answer["chosen_options"] == [self.APPROVE]
        by = who(answer["responded_by_user"])
        give_reason(context, f"{'accepted' if accepts else 'refused'} by {by}: feed {held['feed_id']}")
        return {
            "answer": "accept" if accepts else "refuse",
            "feed_id": held["feed_id"],
            "digest": held["digest"],
            "by": by,
            "at": answer["responded_at"].isoformat(),
        }

    def _held(self, context: Context) -> dict[str, Any] | None:
        result = context["ti"].xcom_pull(task_ids=self.ingest_task) or {}
        held = result.get("on_hold")
        return held if isinstance(held, dict) else None


class ReleaseApprovalOperator(ApprovalOperator):
    """Ask a person about a release that the gate let through, when this run is to ask.

    The result has the `answer` (`approve` or `reject`, None when the run does not ask), `by` whom and when (`at`). Both answers continue:
    `promote` writes either into the registry, so that no later task can overlook a rejection. No answer is no rejection: the task fails,
    the release stays in Staging, and a person can be asked again.

    :param asked: `ask`, else nobody is asked (templated)
    :param evaluate_task: id of the task whose result has the gate's `rules`
    :param register_task: id of the task whose result has the `version`
    """

    template_fields = (*ApprovalOperator.template_fields, "asked")
    ui_color = "#fdf3d8"

    def __init__(self, *, asked: str, evaluate_task: str, register_task: str, **kwargs: Any) -> None:
        super().__init__(
            subject="A release wants to go into Production", map_index_template=REASON_COLUMN, **kwargs
        )
        self.asked = asked
        self.evaluate_task = evaluate_task
        self.register_task = register_task

    def execute(self, context: Context) -> Any:
        """Put the question, and leave the worker until it is answered."""
        if self.asked != "ask":
            give_reason(context, "this run does not ask")
            return {"answer": None, "by": None, "at": None}
        version, verdict = self._version(context), context["ti"].xcom_pull(task_ids=self.evaluate_task)
        self.subject = f"Release {version}: put it into Production?"
        self.body = release_question(
            verdict,
            mlflow_page(load_settings().tracking_uri, context["ti"].xcom_pull(task_ids=self.register_task)),
        )
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Hand on the answer; fail when there was none."""
        version = self._version(context)
        if "error" in event:
            hours = self.response_timeout.total_seconds() / 3600 if self.response_timeout else 0
            self._hold(
                context,
                f"nobody answered for release {version} within {hours:g} h. It stays in Staging; clear this task to be asked again.",
            )
        answer = HITLOperator.execute_complete(self, context, event)
        by = who(answer["responded_by_user"])
        approves = answer["chosen_options"] == [self.APPROVE]
        give_reason(context, f"{'approved' if approves else 'rejected'} by {by}: release {version}")
        return {
            "answer": "approve" if approves else "reject",
            "by": by,
            "at": answer["responded_at"].isoformat(),
        }

    def _version(self, context: Context) -> int:
        return int(context["ti"].xcom_pull(task_ids=self.register_task)["version"])

    def _hold(self, context: Context, sentence: str) -> NoReturn:
        give_reason(context, f"Held: {sentence}")
        raise AirflowFailException(f"Held: {sentence}")


def who(user: Any) -> str:
    """The name of who answered, else the id."""
    known = (
        user
        if isinstance(user, dict)
        else {"id": getattr(user, "id", None), "name": getattr(user, "name", None)}
    )
    return str(known.get("name") or known.get("id") or "unknown")


def question(held: dict[str, Any]) -> str:
    """The page's text: what a guard found, what the answers do."""
    figures = held.get("figures", [])
    rows = "\n".join(
        f"| {label(figure['guard'])} | {figure['value']:.1%} | {figure['limit']:.1%} |" for figure in figures
    )
    sentences = "\n".join(f"- {plain(figure['sentence'])}" for figure in figures)
    reasons = held.get("row_reasons") or []
    return f"""Nothing of this feed has been written so far.

| what the guards measured | this feed | allowed |
|---|---:|---:|
{rows}

{sentences}
{row_table(reasons) if reasons else ""}
**Approve** takes the feed in as it is. **Reject** moves it to `.refused` of the inbox. Either way the feeds that came after it follow, and the refresh goes on.

Feed {plain(held["feed_id"])}, digest `{held["digest"][:16]}`, in {plain(held["folder"])}
"""


def row_table(reasons: list[dict[str, Any]]) -> str:
    """Why most of the rows cannot be taken that go to quarantine, with an example each."""
    lines = "\n".join(
        f"| {reason['rows']:,} | {plain(reason['reason'])} | {plain(reason['example'])} |"
        for reason in reasons
    )
    return f"""
| rows that cannot be taken | reason | for example |
|---:|---|---|
{lines}
"""


def release_question(verdict: dict[str, Any], page: str) -> str:
    """The page's text: the gate's rules with their figures, and where the answers can be looked at."""
    rows = "\n".join(
        f"| {plain(rule['rule'])} | {_figure(rule['challenger'])} | {_figure(rule['champion'])} | {_difference(rule['difference'])} | {plain(rule['limit'])} |"
        for rule in verdict["rules"]
    )
    look = f"[What it answers, beside the champion]({page})\n" if page else ""
    return f"""The gate lets it through. {look}
| rule | challenger | champion | difference, 95 % interval | limit |
|---|---:|---:|---:|---|
{rows}

**Approve** puts it into Production, model and index together. **Reject** leaves it in Staging, and it is not promoted without a new approval; what serves goes on serving.
"""


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}"


def _difference(found: dict[str, Any] | None) -> str:
    return (
        ""
        if found is None or found["mean"] is None
        else f"{found['mean']:+.4f} ({found['low']:+.4f} to {found['high']:+.4f})"
    )


def approvers() -> list[dict[str, str]] | None:
    """Who alone may answer, from `[recsim] approvers` of the Airflow configuration, `id:name, id:name`; None is everybody who may."""
    named = [
        pair.strip().partition(":")
        for pair in str(conf.get("recsim", "approvers", fallback="")).split(",")
        if pair.strip()
    ]
    return [{"id": user.strip(), "name": name.strip() or user.strip()} for user, _, name in named] or None


def label(guard: str) -> str:
    """A guard's name as words: `max_withdrawn_share` is about the *withdrawn share*."""
    return plain(guard.removeprefix("max_").replace("_", " "))


def plain(text: str) -> str:
    """`text` as Markdown that shows it letter by letter."""
    return MARKUP.sub(r"\\\1", one_line(" ".join(str(text).split())))
