"""Answers as tables, for people; the JSON line follows for programs."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from recsim_tasks.contracts import HoldRecord, QuarantineResult
from recsim_tasks.foundation.text import one_line


def show_status(told: dict[str, Any]) -> dict[str, Any]:
    """Print `recsim status` as a table; returns it unchanged."""
    champion, head, behind = told["champion"], told["head"], told["behind"]
    table = Table(show_header=False)
    table.add_row("release in Production", str(champion["version"]) if champion else "none yet")
    table.add_row("products", f"{champion['size']:,}" if champion else "-")
    table.add_row("catalogue", f"version {head['version']}" if head else "none yet")
    table.add_row("behind", f"{behind['versions']} versions, {behind['seconds']} s" if behind else "-")
    if held := told["held"]:
        table.add_row(
            "promotions", _cell(f"held by {held['by']} since {_minute(held['at'])}: {held['reason']}")
        )
    if told["problem"]:
        table.add_row("attention", _cell(told["problem"]))
    Console().print(table)
    return told


def show_releases(told: dict[str, Any]) -> dict[str, Any]:
    """Print the answer of `recsim releases` as a table; returns it unchanged."""
    if "feed_id" in told:
        first = told["first_served"]
        table = Table(show_header=False)
        table.add_row("feed", _cell(told["feed_id"]))
        known = told["taken_in"] is not None
        taken = (
            f"{_minute(told['taken_in'])}, version {told['catalogue_version']} of the catalogue"
            if known
            else "the log tells no more"
        )
        table.add_row("taken in", taken)
        table.add_row(
            "first served", f"{_minute(first['from'])}, release {first['version']}" if first else "not yet"
        )
    else:
        table = Table("release", "from", "to", "by", "through", "why")
        for entry in told["releases"]:
            until = _minute(entry["to"]) if entry["to"] else "still"
            told_of = (_cell(entry[name]) for name in ("by", "through", "why"))
            table.add_row(str(entry["version"]), _minute(entry["from"]), until, *told_of)
    Console().print(table)
    return told


def show_neighbours(told: dict[str, Any]) -> dict[str, Any]:
    """Print the answer of `recsim query` as a table; returns it unchanged."""
    table = Table(
        "product", "score", "category", "price", "in stock", "title", title=f"release {told['release']}"
    )
    for row in told["results"]:
        price = None if row["price"] is None else f"{row['price']:,.2f}"
        in_stock = {True: "yes", False: "no"}.get(row["in_stock"])
        cells = (row["product_id"], f"{row['score']:.3f}", row["category"], price, in_stock, row["title"])
        table.add_row(*map(_cell, cells))
    Console().print(table if told["results"] else "No product meets these conditions.")
    return told


def show_quarantine(result: QuarantineResult) -> QuarantineResult:
    """Print `recsim quarantine` as tables: rows by reason, the newest of them, and the feeds on hold; returns it unchanged."""
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
        console.print(_hold(record))
    return result


def _hold(record: HoldRecord) -> Table:
    title = Text(
        f"Feed {one_line(record.feed_id)} is on hold since {_minute(record.at)}; nothing of it was written"
    )
    table = Table("rows", "reason", "example", title=title)
    for reason in record.row_reasons:
        table.add_row(f"{reason.rows:,}", _cell(reason.reason), _cell(reason.example))
    return table


def _cell(value: object) -> Text:
    """What others wrote, letter by letter: `Text` is not read as Rich's markup, and one line moves no terminal's cursor."""
    return Text(one_line(value) if value not in (None, "") else "-")


def _minute(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))
