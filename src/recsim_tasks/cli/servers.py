"""Commands that start a server or examine the machine."""

from __future__ import annotations

import typer

from recsim_tasks.cli.runner import run
from recsim_tasks.contracts import DoctorResult
from recsim_tasks.foundation.settings import Settings

app = typer.Typer()


@app.command()
def serve() -> None:
    """Serve the release in Production over HTTP until stopped."""

    def work(settings: Settings) -> None:
        from recsim_tasks.serving.server import serve as run_server

        run_server(settings)

    run("serve", work)


@app.command()
def shop() -> None:
    """Run the shop until stopped."""

    def work(settings: Settings) -> None:
        from recsim_tasks.shop.run import shop as run_shop

        run_shop(settings)

    run("shop", work)


@app.command()
def doctor() -> None:
    """Check everything that this machine needs, and say what to install."""

    def work(settings: Settings) -> DoctorResult:
        from recsim_tasks.foundation.doctor import examine

        return examine(settings)

    run("doctor", work)
