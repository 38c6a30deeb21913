"""One round of each comparison, in which the variants take their turns."""

from __future__ import annotations

from pathlib import Path

from benchmarks.catalogue.bench import CatalogueBench, Size
from benchmarks.catalogue.delta_rs import merge
from benchmarks.catalogue.sessions import Session, ingest, read_changes, settings_of, without_deletion_vectors
from recsim_tasks.catalogue.delta.net_changes import compare, net_changes
from recsim_tasks.catalogue.delta.reader import PRODUCT_FIELDS, head, read_products
from recsim_tasks.contracts import Cursor

FIELDS = list(PRODUCT_FIELDS)


def settings_round(bench: CatalogueBench, session: Session, small: Size, empty: Size) -> None:
    """What a session's settings cost: a day's feed first thing in the process, once more, and a whole catalogue."""
    variant = "stock" if session.stock else "ours"
    for name, size in (
        (f"{variant} day cold", small),
        (f"{variant} day warm", small),
        (f"{variant} whole", empty),
    ):
        with bench.copy(size.home) as home:
            bench.ingest(name, session, home, size.feed)


def merge_round(bench: CatalogueBench, name: str, size: Size) -> None:
    """delta-rs's own merge of the same rows."""
    with bench.copy(size.delta_rs) as table:
        bench.call(name, merge, table, size.changes)


def size_round(bench: CatalogueBench, session: Session, size: Size) -> None:
    """What the catalogue's size costs, with files rewritten and with deletion vectors; the second delivery; the range that is left."""
    with bench.copy(size.home) as home:
        session.run(without_deletion_vectors, home)
        bench.ingest(f"rewrite {size.count}", session, home, size.feed)
    merge_round(bench, f"delta-rs {size.count}", size)
    with bench.copy(size.home) as home:
        bench.ingest(f"ours {size.count}", session, home, size.feed)
        bench.redeliver(f"again {size.count}", session, home, size.feed)
        range_round(bench, session, size, home)


def range_round(bench: CatalogueBench, session: Session, size: Size, home: Path, reads: int = 15) -> None:
    """What was changed: netted by us, read by warm Spark; and the whole table, read without pictures."""
    uri = settings_of(home).products_uri
    before, now = _head(settings_of(size.home).products_uri), _head(uri)
    # One after the other, each warm: what a JVM tidies up after a query would slow down whoever comes next.
    for _ in range(reads):
        changes = bench.call(f"range {size.count}", net_changes, uri, before, now)
    for _ in range(reads):
        bench.call(f"scan {size.count}", read_products, uri, now, FIELDS)
    for _ in range(reads):
        bench.spark(f"spark range {size.count}", session, read_changes, uri, FIELDS, before, now)
    if len(changes) != len(size.changes):
        raise RuntimeError(f"The change range has {len(changes):,} products, the feed {len(size.changes):,}.")


def check_merges_agree(bench: CatalogueBench, session: Session, size: Size) -> None:
    """Raises when delta-rs's merge leaves other products than our ingest."""
    with bench.copy(size.home) as home, bench.copy(size.delta_rs) as table:
        session.run(ingest, home, size.feed)
        merge(table, size.changes)
        ours, theirs = (
            read_products(uri, _head(uri), FIELDS) for uri in (settings_of(home).products_uri, str(table))
        )
    if differing := len(compare(theirs, ours)):
        raise RuntimeError(f"delta-rs and we differ in {differing:,} products: the merges are not the same.")


def _head(uri: str) -> Cursor:
    cursor = head(uri)
    if cursor is None:
        raise RuntimeError(f"There is no table at {uri}.")
    return cursor
