"""Prints results as tables for people; the JSON line for programs follows."""

from __future__ import annotations

import time

from rich.console import Console
from rich.table import Table
from rich.text import Text

from recsim_tasks.contracts import (
    FeedReleaseResult,
    Lag,
    OnHoldRecord,
    QuarantineResult,
    QueryResult,
    ReleasesResult,
    StatusResult,
)
from recsim_tasks.foundation.text import one_line


def show_status(status: StatusResult) -> None:
    """Print `recsim status` as a table."""
    champion, head = status.champion, status.head
    table = Table(show_header=False)
    table.add_row("release in Production", str(champion.version) if champion else "none yet")
    table.add_row("products", f"{champion.size:,}" if champion else "-")
    table.add_row("catalogue", f"version {head.version}" if head else "none yet")
    table.add_row("behind", _behind(status.behind))
    if freeze := status.frozen:
        since = f"frozen by {freeze.by} since {_minute(freeze.at)}: {freeze.reason}"
        table.add_row("promotions", _cell(since))
    if status.problem:
        table.add_row("attention", _cell(status.problem))
    Console().print(table)


def show_releases(history: ReleasesResult) -> None:
    """Print `recsim releases` as a table."""
    table = Table("release", "from", "to", "by", "through", "why")
    for period in history.releases:
        end = _minute(period.end) if period.end else "now"
        who = map(_cell, (period.by, period.through, period.why))
        table.add_row(str(period.version), _minute(period.start), end, *who)
    Console().print(table)


def show_feed_release(traced: FeedReleaseResult) -> None:
    """Print `recsim releases --feed` as a table."""
    first = traced.first_served
    table = Table(show_header=False)
    table.add_row("feed", _cell(traced.feed_id))
    taken_in = "no longer in the log"
    if traced.taken_in is not None:
        taken_in = f"{_minute(traced.taken_in)}, version {traced.catalogue_version} of the catalogue"
    table.add_row("taken in", taken_in)
    served = f"{_minute(first.start)}, release {first.version}" if first else "not yet"
    table.add_row("first served", served)
    Console().print(table)


def show_neighbours(answer: QueryResult) -> None:
    """Print `recsim query` as a table."""
    columns = ("product", "score", "category", "price", "in stock", "title")
    table = Table(*columns, title=f"release {answer.release}")
    for row in answer.results:
        price = None if row["price"] is None else f"{row['price']:,.2f}"
        in_stock = None if row["in_stock"] is None else "yes" if row["in_stock"] else "no"
        cells = (row["product_id"], f"{row['score']:.3f}", row["category"], price, in_stock, row["title"])
        table.add_row(*map(_cell, cells))
    Console().print(table if answer.results else "No product meets these conditions.")


def show_quarantine(result: QuarantineResult) -> None:
    """Print `recsim quarantine` as tables: rows by reason, the newest rows, and feeds on hold."""
    reasons = Table("rows", "reason", title=f"{result.rows:,} rows in quarantine")
    for reason, count in result.by_reason.items():
        reasons.add_row(f"{count:,}", _cell(reason))
    newest = Table("feed", "product", "at", "reason", "released by", title="The newest")
    for row in result.newest:
        at = f"{row.at:%Y-%m-%d %H:%M}" if row.at else None
        newest.add_row(*map(_cell, (row.feed_id, row.product_id, at, row.reason, row.released_by)))
    console = Console()
    console.print(reasons)
    if result.newest:
        console.print(newest)
    for record in result.on_hold:
        console.print(_feed_on_hold(record))


def _behind(lag: Lag | None) -> str:
    if lag is None:
        return "-"
    if lag.versions is None:
        return "unknown: the catalogue was created again since"
    return f"{lag.versions} versions, {lag.seconds} s"


def _feed_on_hold(record: OnHoldRecord) -> Table:
    title = Text(
        f"Feed {one_line(record.feed_id)} is on hold since {_minute(record.at)}; none of its rows was written"
    )
    table = Table("rows", "reason", "example", title=title)
    for reason in record.row_reasons:
        table.add_row(f"{reason.rows:,}", _cell(reason.reason), _cell(reason.example))
    return table


def _cell(value: object) -> Text:
    """Foreign text as it is: `Text` is not parsed as Rich's markup, and control characters are escaped."""
    return Text(one_line(value) if value not in (None, "") else "-")


def _minute(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
