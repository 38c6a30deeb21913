"""Commands on feeds and tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recsim_tasks.cli.options import JsonOnly, OptionalRefreshId
from recsim_tasks.cli.runner import run
from recsim_tasks.contracts import IngestResult, JobResult, QuarantineResult
from recsim_tasks.foundation.settings import Settings

app = typer.Typer()


@app.command()
def ingest(
    feed: Annotated[
        Path | None, typer.Argument(help="Feed directory; without it, every feed in the inbox.")
    ] = None,
    refresh: OptionalRefreshId = None,
    accept: Annotated[
        str | None, typer.Option(help="Apply the feed on hold that has this id or digest.")
    ] = None,
    refuse: Annotated[
        str | None, typer.Option(help="Move the feed on hold that has this id or digest to .refused.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Who accepts or refuses.", show_default="you")] = None,
) -> None:
    """Apply feeds to the catalogue."""

    def work(settings: Settings) -> IngestResult:
        from recsim_tasks.catalogue.feeds.decisions import parse_decision
        from recsim_tasks.catalogue.feeds.inbox import ingest_inbox
        from recsim_tasks.catalogue.feeds.ingest import IngestRequest, ingest_feed

        request = IngestRequest(refresh=refresh, decision=parse_decision(accept, refuse, by))
        return ingest_inbox(settings, request) if feed is None else ingest_feed(settings, feed, request)

    run("ingest", work, refresh)


@app.command()
def quarantine(
    feed: Annotated[str | None, typer.Option(help="Only rows of the feed with this id.")] = None,
    product: Annotated[str | None, typer.Option(help="Only rows of this product.")] = None,
    released: Annotated[
        bool, typer.Option("--all", help="Also rows that a later good row has released.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of rows, newest first.")] = 20,
    json: JsonOnly = False,
) -> None:
    """List the feed rows in quarantine, with their reasons."""

    def work(settings: Settings) -> QuarantineResult:
        from recsim_tasks.catalogue.feeds.quarantine import quarantined
        from recsim_tasks.cli.tables import show_quarantine

        result = quarantined(
            settings, feed_id=feed, product_id=product, include_released=released, limit=limit
        )
        if not json:
            show_quarantine(result)
        return result

    run("quarantine", work)


@app.command()
def maintain() -> None:
    """Compact the tables; remove files past their retention and embeddings that no release uses."""

    def work(settings: Settings) -> JobResult:
        from recsim_tasks.operations.maintenance import maintain

        return maintain(settings)

    run("maintain", work)
