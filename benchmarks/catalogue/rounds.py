"""One round of each comparison, in which the variants alternate."""

from __future__ import annotations

from pathlib import Path

from benchmarks.catalogue.bench import CatalogueBench, Size
from benchmarks.catalogue.delta_rs import merge
from benchmarks.catalogue.sessions import Session, ingest, read_changes, settings_of, without_deletion_vectors
from recsim_tasks.catalogue.delta.net_changes import compare, net_changes
from recsim_tasks.catalogue.delta.reader import head, read_products
from recsim_tasks.catalogue.schema import INDEXED
from recsim_tasks.contracts import Cursor

FIELDS = list(INDEXED)


def settings_round(bench: CatalogueBench, session: Session, small: Size, empty: Size) -> None:
    """Compare session settings: a daily feed in a new process, once more when warm, and a whole catalogue."""
    variant = "stock" if session.stock else "ours"
    for name, size in (
        (f"{variant} day cold", small),
        (f"{variant} day warm", small),
        (f"{variant} whole", empty),
    ):
        with bench.copy(size.home) as home:
            bench.ingest(name, session, home, size.feed)


def merge_round(bench: CatalogueBench, name: str, size: Size) -> None:
    """Time the merge of the same rows by delta-rs."""
    with bench.copy(size.delta_rs) as table:
        bench.call(name, merge, table, size.changes)


def size_round(bench: CatalogueBench, session: Session, size: Size) -> None:
    """Time an ingest with rewritten files and with deletion vectors, a redelivery, and the change range."""
    with bench.copy(size.home) as home:
        session.run(without_deletion_vectors, home)
        bench.ingest(f"rewrite {size.count}", session, home, size.feed)
    merge_round(bench, f"delta-rs {size.count}", size)
    with bench.copy(size.home) as home:
        bench.ingest(f"ours {size.count}", session, home, size.feed)
        bench.redeliver(f"again {size.count}", session, home, size.feed)
        range_round(bench, session, size, home)


def range_round(bench: CatalogueBench, session: Session, size: Size, home: Path, reads: int = 15) -> None:
    """Compare net changes by us and a read by warm Spark; and a read of the whole table without images."""
    uri = settings_of(home).products_uri
    before, now = _head(settings_of(size.home).products_uri), _head(uri)
    # Each in a block of its own when warm: garbage collection after a query would slow down the next
    # operation.
    for _ in range(reads):
        changes = bench.call(f"range {size.count}", net_changes, uri, before, now)
    for _ in range(reads):
        bench.call(f"scan {size.count}", read_products, uri, now, FIELDS)
    for _ in range(reads):
        bench.spark(f"spark range {size.count}", session, read_changes, uri, FIELDS, before, now)
    if len(changes) != len(size.changes):
        raise RuntimeError(f"The change range has {len(changes):,} products, the feed {len(size.changes):,}.")


def check_merges_agree(bench: CatalogueBench, session: Session, size: Size) -> None:
    """Raise an error if the merge of delta-rs leaves other products than our ingest."""
    with bench.copy(size.home) as home, bench.copy(size.delta_rs) as table:
        session.run(ingest, home, size.feed)
        merge(table, size.changes)
        ours, delta_rs = (
            read_products(uri, _head(uri), FIELDS) for uri in (settings_of(home).products_uri, str(table))
        )
    if differing := len(compare(delta_rs, ours)):
        raise RuntimeError(f"The merges of delta-rs and recsim differ in {differing:,} products.")


def _head(uri: str) -> Cursor:
    cursor = head(uri)
    if cursor is None:
        raise RuntimeError(f"There is no table at {uri}.")
    return cursor
