"""The command line `recsim`: each command does one step and prints one JSON object on its last line."""

from __future__ import annotations

from typing import Annotated

import typer

from recsim_tasks.cli import catalogue, refresh, releases, servers
from recsim_tasks.foundation.logging import configure

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for group in (catalogue, refresh, releases, servers):
    app.add_typer(group.app)


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log details as well.")] = False,
) -> None:
    """Keep a visual product recommender fresh."""
    configure(verbose)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
