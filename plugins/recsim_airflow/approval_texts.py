"""The questions that a person answers under *Required Actions*, as Markdown."""

from __future__ import annotations

import re

from recsim_tasks.contracts import ConfidenceInterval, FeedOnHold, GuardViolation, RowReason, RuleResult
from recsim_tasks.foundation.text import one_line

# A feed's own texts are shown literally: nothing in them may become a link, an image or a heading.
MARKUP = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~&$:/])")


def feed_question(feed: FeedOnHold) -> str:
    """What the guards measured, and what each answer does."""
    figures = "\n".join(
        f"| {guard_label(figure)} | {figure.value:.1%} | {figure.limit:.1%} |" for figure in feed.figures
    )
    sentences = "\n".join(f"- {literal(figure.sentence)}" for figure in feed.figures)
    return f"""Nothing of this feed has been written to the catalogue.

| Guard | This feed | Limit |
|---|---:|---:|
{figures}

{sentences}
{_row_table(feed.row_reasons) if feed.row_reasons else ""}
**Approve** applies the feed as it is. **Reject** moves it to `.refused` in the inbox.
Either way, the refresh continues with the feeds behind it.

Feed {literal(feed.feed_id)}, digest `{feed.digest[:16]}`, folder {literal(feed.folder)}
"""


def _row_table(reasons: list[RowReason]) -> str:
    rows = "\n".join(
        f"| {reason.rows:,} | {literal(reason.reason)} | {literal(reason.example)} |" for reason in reasons
    )
    return f"""
These rows would go to quarantine:

| Rows | Reason | Example |
|---:|---|---|
{rows}
"""


def release_question(rules: list[RuleResult], page: str) -> str:
    """The gate's rules with their figures, a link to the `page` of the release, and what each answer does."""
    rows = "\n".join(
        f"| {literal(rule.rule)} | {_number(rule.challenger)} | {_number(rule.champion)} "
        f"| {_interval(rule.difference)} | {literal(rule.limit)} |"
        for rule in rules
    )
    link = f" [Compare its results with the champion's]({page})." if page else ""
    return f"""The release passed the gate.{link}

| Rule | Challenger | Champion | Difference (95% interval) | Limit |
|---|---:|---:|---:|---|
{rows}

**Approve** promotes encoder and index together to Production. **Reject** leaves the release in Staging: it
needs a new approval before it can be promoted, and the champion stays in Production.
"""


def guard_label(figure: GuardViolation) -> str:
    """A guard in words, `max_withdrawn_share` limits the *withdrawn share*, with its category, if any."""
    label = literal(figure.guard.removeprefix("max_").replace("_", " "))
    return f"{label}, {literal(figure.category)}" if figure.category else label


def literal(text: str) -> str:
    """`text` as Markdown that shows it literally, on one line."""
    return MARKUP.sub(r"\\\1", one_line(" ".join(str(text).split())))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}"


def _interval(difference: ConfidenceInterval | None) -> str:
    if difference is None:
        return ""
    return f"{difference.mean:+.4f} ({difference.low:+.4f} to {difference.high:+.4f})"
