"""Options that several commands share."""

from __future__ import annotations

import getpass
from datetime import datetime
from typing import Annotated, Literal

import typer

RefreshId = Annotated[
    str, typer.Option("--refresh", help="Id of the refresh; the DAG passes its run id.", show_default=False)
]
OptionalRefreshId = Annotated[
    str | None, typer.Option("--refresh", help="Id of the refresh in whose workspace the result is kept.")
]
JsonOnly = Annotated[bool, typer.Option("--json", help="Print only the JSON line, without a table.")]
By = Annotated[str, typer.Option(help="Who does it.", default_factory=getpass.getuser, show_default="you")]
Through = Annotated[
    Literal["cli", "airflow"],
    typer.Option(help="Where `--by` comes from: this command line or Airflow's UI."),
]
Version = Annotated[int, typer.Option("--version", help="Version of the release.", show_default=False)]
AnsweredAt = Annotated[
    datetime | None,
    typer.Option(
        help="When a person approved or rejected it; the DAG passes it.",
        metavar="TIME",
        formats=["%Y-%m-%dT%H:%M:%S.%f%z", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S"],
    ),
]
