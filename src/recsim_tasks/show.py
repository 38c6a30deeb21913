"""Answers as tables, for people; the JSON line follows for programs."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table


def show_status(told: dict[str, Any]) -> dict[str, Any]:
    """Print `recsim status` as a table; returns it unchanged."""
    champion, head, behind = told["champion"], told["head"], told["behind"]
    table = Table(show_header=False)
    table.add_row("release in Production", str(champion["version"]) if champion else "none yet")
    table.add_row("products", f"{champion['size']:,}" if champion else "-")
    table.add_row("catalogue", f"version {head['version']}" if head else "none yet")
    table.add_row("behind", f"{behind['versions']} versions, {behind['seconds']} s" if behind else "-")
    Console().print(table)
    return told


def show_neighbours(told: dict[str, Any]) -> dict[str, Any]:
    """Print the answer of `recsim query` as a table; returns it unchanged."""
    table = Table("product", "score", "category", "title", title=f"release {told['release']}")
    for row in told["results"]:
        table.add_row(row["product_id"], f"{row['score']:.3f}", row["category"], row.get("title"))
    Console().print(table)
    return told
