"""The command line `recsim`: one function a job, each does one step and prints one JSON object last."""

from __future__ import annotations

import getpass
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from recsim_tasks.cli.runner import run
from recsim_tasks.cli.tables import (
    show_feed_release,
    show_neighbours,
    show_quarantine,
    show_releases,
    show_status,
)
from recsim_tasks.contracts import JobResult
from recsim_tasks.foundation.publishing import write_json
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.operations import maintenance
from recsim_tasks.operations import query as queries
from recsim_tasks.operations import status as operations_status
from recsim_tasks.refresh import evaluate as evaluation
from recsim_tasks.refresh import release_steps, steps
from recsim_tasks.refresh.workspace import Workspace

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Keep a visual product recommender fresh.",
)
index_app = typer.Typer(
    no_args_is_help=True, help="Build, append to, compact or verify the index of a refresh."
)
app.add_typer(index_app, name="index")

RefreshId = Annotated[str, typer.Option("--refresh", help="Id of the refresh; the DAG passes its run id.")]
OptionalRefreshId = Annotated[
    str | None, typer.Option("--refresh", help="Id of the refresh whose workspace keeps the result.")
]
JsonOnly = Annotated[
    bool, typer.Option("--json", help="Print the JSON line alone, no table for people above it.")
]
By = Annotated[str | None, typer.Option(help="Who does it; default the user of this process.")]
Through = Annotated[
    Literal["cli", "airflow"],
    typer.Option(help="Where the name comes from: typed at the command line, or a user of Airflow's."),
]
TIME_FORMATS = ["%Y-%m-%dT%H:%M:%S.%f%z", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S"]
Version = Annotated[int, typer.Option("--version", help="Version of the release.")]


def main() -> None:
    """Run the command line."""
    app()


def _step(name: str, refresh: str | None, work: Any) -> None:
    """Run a step and leave its result in the workspace of the refresh, when there is one."""

    def kept(settings: Settings) -> JobResult | dict[str, Any]:
        # An invalid id is refused before any work.
        workspace = None if refresh is None else Workspace.of(settings, refresh)
        started = time.monotonic()
        result: JobResult | dict[str, Any] = work(settings)
        if isinstance(result, dict):  # only `ingest`, until it returns its model
            if workspace:
                write_json(workspace.folder / f"{name}.json", result)
            return result
        result = result.model_copy(update={"elapsed_seconds": round(time.monotonic() - started, 1)})
        return workspace.keep(result) if workspace else result

    run(name, kept)


@app.command()
def ingest(
    feed: Annotated[
        Path | None, typer.Argument(help="Feed directory; without it every feed of the inbox.")
    ] = None,
    refresh: OptionalRefreshId = None,
    accept: Annotated[
        str | None,
        typer.Option(help="Take in the held feed with this id or digest although a guard holds it."),
    ] = None,
    refuse: Annotated[
        str | None, typer.Option(help="Move the held feed with this id or digest to .refused.")
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="Who accepts or refuses; default the user of this process.")
    ] = None,
) -> None:
    """Take feeds into the catalogue."""

    def work(settings: Settings) -> dict[str, Any]:
        from recsim_tasks.catalogue.feeds.decisions import answer_of
        from recsim_tasks.catalogue.feeds.inbox import ingest_inbox
        from recsim_tasks.catalogue.feeds.ingest import Order, ingest_feed

        order, answer = Order(refresh), answer_of(accept, refuse, by)
        return (
            ingest_inbox(settings, order, answer)
            if feed is None
            else ingest_feed(settings, feed, order, answer)
        )

    _step("ingest", refresh, work)


@app.command()
def quarantine(
    feed: Annotated[str | None, typer.Option(help="Only rows of the feed with this id.")] = None,
    product: Annotated[str | None, typer.Option(help="Only rows of this product.")] = None,
    released: Annotated[
        bool, typer.Option("--all", help="Also rows that a later good row has released.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many rows to list, newest first.")] = 20,
    json: JsonOnly = False,
) -> None:
    """List the rows of feeds that could not be taken, with the reason."""

    def work(settings: Settings) -> dict[str, Any]:
        from recsim_tasks.catalogue.feeds.quarantine import quarantined

        told = quarantined(settings, feed, product, released, limit)
        return told if json else show_quarantine(told)

    run("quarantine", work)


@app.command()
def plan(
    refresh: RefreshId,
    mode: Annotated[
        Literal["auto", "append", "rebuild", "retrain"], typer.Option(help="What to do; auto decides.")
    ] = "auto",
    pool_slots: Annotated[
        int | None, typer.Option(min=0, help="Slots of gpu_pool; default what the settings ask for.")
    ] = None,
) -> None:
    """Decide what a refresh must do, and say why."""
    _step(
        "plan",
        refresh,
        lambda settings: steps.plan(settings, Workspace.of(settings, refresh), mode, pool_slots),
    )


@app.command()
def tune(
    refresh: RefreshId,
    trials: Annotated[
        int | None, typer.Option(min=1, max=200, help="Trials of the search; default RECSIM_TUNE_TRIALS.")
    ] = None,
) -> None:
    """Search the parameters of the training."""
    _step(
        "tune",
        refresh,
        lambda settings: steps.tune(
            settings, Workspace.of(settings, refresh), trials or settings.tune_trials
        ),
    )


@app.command()
def train(refresh: RefreshId) -> None:
    """Train the model with the best parameters found."""
    _step("train", refresh, lambda settings: steps.train(settings, Workspace.of(settings, refresh)))


@app.command()
def embed(refresh: RefreshId) -> None:
    """Embed the images that the model has not embedded yet."""
    _step("embed", refresh, lambda settings: steps.embed(settings, Workspace.of(settings, refresh)))


@index_app.command("build")
def index_build(refresh: RefreshId) -> None:
    """Build the index anew from the embeddings table."""
    _step("index", refresh, lambda settings: steps.build_index(settings, Workspace.of(settings, refresh)))


@index_app.command("append")
def index_append(refresh: RefreshId) -> None:
    """Add, replace and remove what changed, in a copy of the champion's index."""
    _step("index", refresh, lambda settings: steps.append_index(settings, Workspace.of(settings, refresh)))


@index_app.command("compact")
def index_compact(refresh: RefreshId) -> None:
    """Rebuild the index of a refresh from its own vectors."""
    _step("index", refresh, lambda settings: steps.compact_index(settings, Workspace.of(settings, refresh)))


@index_app.command("verify")
def index_verify(refresh: RefreshId) -> None:
    """Build the index of a refresh anew, and hold the two against each other: products, vectors, neighbours."""
    _step(
        "index-verify",
        refresh,
        lambda settings: steps.verify_index(settings, Workspace.of(settings, refresh)),
    )


@app.command()
def evaluate(refresh: RefreshId) -> None:
    """Measure the candidate release and apply the rules of the gate; rejects nothing."""
    _step(
        "evaluate", refresh, lambda settings: evaluation.evaluate(settings, Workspace.of(settings, refresh))
    )


@app.command()
def register(
    refresh: RefreshId,
    ask: Annotated[
        bool, typer.Option("--ask", help="Promote it only after a person has approved it.")
    ] = False,
) -> None:
    """Register model and index together as one release in Staging, with its verdict."""
    _step(
        "register",
        refresh,
        lambda settings: release_steps.register(settings, Workspace.of(settings, refresh), ask),
    )


@app.command()
def gate(refresh: RefreshId) -> None:
    """Let the release that a refresh registered pass, or stop with exit code 3 if it is rejected."""
    _step("gate", refresh, lambda settings: release_steps.gate(settings, Workspace.of(settings, refresh)))


@app.command()
def promote(
    version: Version,
    refresh: OptionalRefreshId = None,
    by: By = None,
    through: Through = "cli",
    answered_at: Annotated[
        datetime | None,
        typer.Option(help="When a person approved or rejected it; the DAG passes it.", formats=TIME_FORMATS),
    ] = None,
    reject: Annotated[
        bool, typer.Option("--reject", help="Promote nothing, but write down that the release was rejected.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why it was rejected.")] = "",
) -> None:
    """Put a release that passed the gate into Production, or reject it: then it needs a new approval."""
    name, at = by or getpass.getuser(), answered_at.timestamp() if answered_at else None

    def work(settings: Settings) -> JobResult:
        if reject:
            release_steps.reject(settings, version, name, through, at, reason)
        return release_steps.promote(settings, version, name, through, at)

    _step("promote", refresh, work)


@app.command()
def verify(version: Version, refresh: OptionalRefreshId = None) -> None:
    """Wait until the serving side answers from a release."""
    _step("verify", refresh, lambda settings: release_steps.verify(settings, version))


@app.command()
def rollback(
    refresh: OptionalRefreshId = None,
    to: Annotated[
        int | None,
        typer.Option(help="Version to go back to; default the newest earlier one that can be read."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, for those who look later.")] = "",
    by: By = None,
    through: Through = "cli",
) -> None:
    """Put an earlier release, model and index together, back into Production; freezes promotions until `resume`."""
    _step(
        "rollback",
        refresh,
        lambda settings: release_steps.rollback(settings, to, reason, by or getpass.getuser(), through),
    )


@app.command()
def resume(refresh: OptionalRefreshId = None, by: By = None, through: Through = "cli") -> None:
    """Let refreshes promote again after a rollback."""
    _step(
        "resume",
        refresh,
        lambda settings: release_steps.resume(settings, by or getpass.getuser(), through),
    )


@app.command()
def releases(
    feed: Annotated[
        str | None, typer.Option(help="Which release was the first in Production that had this feed.")
    ] = None,
    json: JsonOnly = False,
) -> None:
    """List which release was in Production when, and why; or find the release that first served a feed."""

    def work(settings: Settings) -> JobResult:
        if feed is not None:
            found = operations_status.release_of_feed(settings, feed)
            return found if json else show_feed_release(found)
        history = operations_status.releases(settings)
        return history if json else show_releases(history)

    run("releases", work)


@app.command()
def status(json: JsonOnly = False) -> None:
    """Say which release is in Production and how far the catalogue is ahead of it."""

    def work(settings: Settings) -> JobResult:
        result = operations_status.status(settings)
        return result if json else show_status(result)

    run("status", work)


@app.command()
def query(
    image: Annotated[Path | None, typer.Option(help="Image to look for.")] = None,
    product: Annotated[str | None, typer.Option(help="Product to find more like.")] = None,
    k: Annotated[int, typer.Option("-k", help="Number of neighbours to return.")] = 10,
    category: Annotated[
        list[str] | None, typer.Option(help="Only of this category; may be repeated.")
    ] = None,
    min_price: Annotated[float | None, typer.Option(help="Not cheaper.")] = None,
    max_price: Annotated[float | None, typer.Option(help="Not dearer.")] = None,
    in_stock: Annotated[
        bool | None,
        typer.Option("--in-stock/--out-of-stock", help="Only those in stock, or only those that are not."),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Not the product with this id; may be repeated.")
    ] = None,
    distinct: Annotated[
        bool,
        typer.Option(
            "--distinct", help="Of products whose images are copies of each other only the nearest."
        ),
    ] = False,
    json: JsonOnly = False,
) -> None:
    """Ask the release in Production what looks like an image or a product."""
    prices = {"min_price": min_price, "max_price": max_price}
    others = {
        "categories": category or [],
        "in_stock": in_stock,
        "exclude": exclude or [],
        "distinct": distinct,
    }

    def work(settings: Settings) -> JobResult:
        result = queries.query(settings, image, product, {"k": k, **prices, **others})
        return result if json else show_neighbours(result)

    run("query", work)


@app.command()
def serve() -> None:
    """Serve the release in Production over HTTP until stopped."""

    def work(settings: Settings) -> dict[str, Any]:
        from recsim_tasks.serving.server import serve as run_server

        run_server(settings)
        return {}

    run("serve", work)


@app.command()
def shop() -> None:
    """Show the shop window until stopped."""

    def work(settings: Settings) -> dict[str, Any]:
        from recsim_tasks.shop.run import shop as run_shop

        run_shop(settings)
        return {}

    run("shop", work)


@app.command()
def maintain() -> None:
    """Compact the tables, remove files older than the retention, and embeddings that no release uses."""
    run("maintain", maintenance.maintain)


@app.command()
def doctor() -> None:
    """Check everything that this machine needs, and say what to install."""

    def work(settings: Settings) -> dict[str, Any]:
        from recsim_tasks.foundation.doctor import examine

        return examine(settings)

    run("doctor", work)


if __name__ == "__main__":
    main()
