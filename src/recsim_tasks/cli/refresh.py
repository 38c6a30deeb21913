"""The steps of a refresh, one command each."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from recsim_tasks.cli.options import OptionalRefreshId, RefreshId, Version
from recsim_tasks.cli.runner import run, run_step
from recsim_tasks.refresh import evaluate as evaluation
from recsim_tasks.refresh import release_steps, steps

app = typer.Typer()
index_app = typer.Typer(
    no_args_is_help=True, help="Build, append to, compact or verify the index of a refresh."
)
app.add_typer(index_app, name="index")


@app.command()
def plan(
    refresh: RefreshId,
    mode: Annotated[
        Literal["auto", "append", "rebuild", "retrain"], typer.Option(help="What to do; auto decides.")
    ] = "auto",
    pool_slots: Annotated[
        int | None,
        typer.Option(min=0, help="Slots of Airflow's gpu_pool; without it, they are not checked."),
    ] = None,
) -> None:
    """Decide what a refresh does, and why."""
    run_step("plan", refresh, lambda settings, workspace: steps.plan(settings, workspace, mode, pool_slots))


@app.command()
def tune(
    refresh: RefreshId,
    trials: Annotated[
        int | None, typer.Option(min=1, max=200, help="Trials of the search; default RECSIM_TUNE_TRIALS.")
    ] = None,
) -> None:
    """Search for the best hyperparameters."""
    run_step(
        "tune",
        refresh,
        lambda settings, workspace: steps.tune(settings, workspace, trials or settings.tune_trials),
    )


@app.command()
def train(refresh: RefreshId) -> None:
    """Train the encoder with the best hyperparameters."""
    run_step("train", refresh, steps.train)


@app.command()
def embed(refresh: RefreshId) -> None:
    """Embed the images that the encoder has not embedded yet."""
    run_step("embed", refresh, steps.embed)


@index_app.command("build")
def index_build(refresh: RefreshId) -> None:
    """Build the index from the embeddings table."""
    run_step("index", refresh, steps.build_index)


@index_app.command("append")
def index_append(refresh: RefreshId) -> None:
    """Add, replace and remove the changed products in a copy of the champion's index."""
    run_step("index", refresh, steps.append_index)


@index_app.command("compact")
def index_compact(refresh: RefreshId) -> None:
    """Rebuild the index of a refresh from its own vectors."""
    run_step("index", refresh, steps.compact_index)


@index_app.command("verify")
def index_verify(refresh: RefreshId) -> None:
    """Compare the index of a refresh with a rebuild: products, vectors, neighbours."""
    run_step("index-verify", refresh, steps.verify_index)


@app.command()
def evaluate(refresh: RefreshId) -> None:
    """Measure the new release, by itself and against the champion."""
    run_step("evaluate", refresh, evaluation.evaluate)


@app.command()
def register(
    refresh: RefreshId,
    ask: Annotated[bool, typer.Option("--ask", help="Require a person's approval for promotion.")] = False,
) -> None:
    """Register encoder and index as one release in Staging, with its verdict."""
    run_step(
        "register", refresh, lambda settings, workspace: release_steps.register(settings, workspace, ask)
    )


@app.command()
def gate(refresh: RefreshId) -> None:
    """Let the release of a refresh pass, or stop with exit code 3 if it is rejected."""
    run_step("gate", refresh, release_steps.gate)


@app.command()
def verify(version: Version, refresh: OptionalRefreshId = None) -> None:
    """Wait until the serving side answers from a release."""
    run("verify", lambda settings: release_steps.verify(settings, version), refresh)
