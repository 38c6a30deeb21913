"""Commands on releases: promotion, rollback, history, queries."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from recsim_tasks.cli.options import AnsweredAt, By, JsonOnly, OptionalRefreshId, Through, Version
from recsim_tasks.cli.runner import run
from recsim_tasks.cli.tables import show_feed_release, show_neighbours, show_releases, show_status
from recsim_tasks.contracts import JobResult
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.operations import query as queries
from recsim_tasks.operations import status as operations
from recsim_tasks.refresh import release_steps
from recsim_tasks.release.registry.approval import Approval

app = typer.Typer()


@app.command()
def promote(
    version: Version,
    by: By,
    refresh: OptionalRefreshId = None,
    through: Through = "cli",
    answered_at: AnsweredAt = None,
    reject: Annotated[
        bool, typer.Option("--reject", help="Do not promote; record that the release was rejected.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why it was rejected.")] = "",
) -> None:
    """Put a release that passed the gate into Production, or reject it."""
    at = answered_at.timestamp() if answered_at else None

    def work(settings: Settings) -> JobResult:
        if reject:
            rejection = Approval("rejected", by, at or time.time(), through, reason)
            release_steps.reject(settings, version, rejection)
        return release_steps.promote(settings, version, by, through, at)

    run("promote", work, refresh)


@app.command()
def rollback(
    by: By,
    refresh: OptionalRefreshId = None,
    to: Annotated[
        int | None, typer.Option(help="Version to return to; default the newest earlier readable one.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    through: Through = "cli",
) -> None:
    """Put an earlier release back into Production and freeze promotions."""
    run("rollback", lambda settings: release_steps.rollback(settings, to, reason, by, through), refresh)


@app.command()
def resume(by: By, refresh: OptionalRefreshId = None, through: Through = "cli") -> None:
    """Let refreshes promote again after a rollback."""
    run("resume", lambda settings: release_steps.resume(settings, by, through), refresh)


@app.command()
def releases(
    feed: Annotated[str | None, typer.Option(help="Show the first release that served this feed.")] = None,
    json: JsonOnly = False,
) -> None:
    """List the releases that were in Production: when, by whom and why."""

    def work(settings: Settings) -> JobResult:
        if feed is not None:
            traced = operations.release_of_feed(settings, feed)
            if not json:
                show_feed_release(traced)
            return traced
        history = operations.releases(settings)
        if not json:
            show_releases(history)
        return history

    run("releases", work)


@app.command()
def status(json: JsonOnly = False) -> None:
    """Show the release in Production and how far it is behind the catalogue."""

    def work(settings: Settings) -> JobResult:
        result = operations.status(settings)
        if not json:
            show_status(result)
        return result

    run("status", work)


@app.command()
def query(
    image: Annotated[Path | None, typer.Option(help="Query image.")] = None,
    product: Annotated[str | None, typer.Option(help="Query product.")] = None,
    k: Annotated[int, typer.Option("-k", help="Number of neighbours.")] = 10,
    category: Annotated[
        list[str] | None, typer.Option(help="Only products of this category; may be repeated.")
    ] = None,
    min_price: Annotated[float | None, typer.Option(help="Minimum price.")] = None,
    max_price: Annotated[float | None, typer.Option(help="Maximum price.")] = None,
    in_stock: Annotated[
        bool | None, typer.Option("--in-stock/--out-of-stock", help="Only products in or out of stock.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Leave out the product with this id; may be repeated.")
    ] = None,
    distinct: Annotated[
        bool, typer.Option("--distinct", help="Of products with copies of one image, only the nearest.")
    ] = False,
    json: JsonOnly = False,
) -> None:
    """Find the nearest products of an image or a product in the release in Production."""
    options = {
        "k": k,
        "categories": category or [],
        "min_price": min_price,
        "max_price": max_price,
        "in_stock": in_stock,
        "exclude": exclude or [],
        "distinct": distinct,
    }

    def work(settings: Settings) -> JobResult:
        answer = queries.query(settings, image, product, options)
        if not json:
            show_neighbours(answer)
        return answer

    run("query", work)
