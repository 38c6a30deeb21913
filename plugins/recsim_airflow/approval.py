"""`HeldFeedApprovalOperator` asks a person about a feed that a guard holds, with the figures in front of them."""

from __future__ import annotations

import re
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from recsim_airflow.reasons import REASON_COLUMN, give_reason

# What a feed says of itself is shown as it is: nothing of it may become a link, a picture or a heading.
MARKUP = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~&])")


class HeldFeedApprovalOperator(ApprovalOperator):
    """Wait for somebody's answer about the feed that `ingest` handed on as held; skip when it held none.

    Both answers go on: the result says how (`accept` or `refuse`), which feed (`feed_id`, `digest`), `by` whom and when (`at`).
    There is no default, so that no answer is none: it fails, and the feed waits on in the inbox.

    :param ingest_task: id of the task whose result may have a `held` feed
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
        held = result.get("held")
        return held if isinstance(held, dict) else None


def who(user: Any) -> str:
    """The name of who answered, else the id."""
    known = user if isinstance(user, dict) else {"id": getattr(user, "id", None), "name": getattr(user, "name", None)}
    return str(known.get("name") or known.get("id") or "unknown")


def question(held: dict[str, Any]) -> str:
    """The page's text: what a guard found, what the answers do."""
    figures = held.get("figures", [])
    rows = "\n".join(f"| {label(figure['guard'])} | {figure['value']:.1%} | {figure['limit']:.1%} |" for figure in figures)
    sentences = "\n".join(f"- {plain(figure['sentence'])}" for figure in figures)
    return f"""Nothing of this feed has been written so far.

| what the guards measured | this feed | allowed |
|---|---:|---:|
{rows}

{sentences}

**Approve** takes the feed in as it is. **Reject** moves it to `.refused` of the inbox. Either way the feeds that came after it follow, and the refresh goes on.

Feed {plain(held["feed_id"])}, digest `{held["digest"][:16]}`, in {plain(held["folder"])}
"""


def label(guard: str) -> str:
    """A guard's name as words: `max_withdrawn_share` is about the *withdrawn share*."""
    return plain(guard.removeprefix("max_").replace("_", " "))


def plain(text: str) -> str:
    """`text` as Markdown that shows it letter by letter."""
    return MARKUP.sub(r"\\\1", " ".join(str(text).split()))
