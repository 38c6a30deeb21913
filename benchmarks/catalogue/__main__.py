"""`make bench-catalogue`: the cost of an ingest, as ratios within one run."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.catalogue.bench import CatalogueBench
from benchmarks.catalogue.goals import measures
from benchmarks.catalogue.plot import draw
from benchmarks.catalogue.rounds import check_merges_agree, merge_round, settings_round, size_round
from benchmarks.catalogue.sessions import Session
from benchmarks.report import last_line, machine, table

PLOT = Path("docs/images/bench-catalogue.png")
SMALL, LARGE, ROUNDS, STOCK = 70_000, 1_000_000, 3, 200
NOTES = """Optimisations: deletion vectors, so that a merge writes the rows that it changes, not whole files;
ids of feeds with up to 200,000 rows are broadcast, so that the catalogue is not shuffled; only rows that
change something reach the merge; 4 shuffle partitions instead of 200, 1 partition instead of 50 for Delta's
snapshot, no Spark UI, only Java's C1 compiler. No clustering and no pruning by key range, as a feed may name
any products. The change range is read with delta-rs, without images. A redelivery is recognised by the log,
without Spark."""


def main() -> None:
    """Measure, print, plot."""
    arguments = _arguments()
    for name in [name for name in os.environ if name.startswith("RECSIM_")]:
        del os.environ[name]
    load_before = machine("pyspark", "delta-spark", "deltalake")
    with tempfile.TemporaryDirectory(prefix="recsim-bench-", dir=arguments.folder) as folder:
        bench = CatalogueBench(Path(folder))
        _measure(bench, arguments)
    lines = measures(bench, arguments.rows, arguments.large)
    print(f"{load_before} before, {os.getloadavg()[0]:.1f} after; median of {arguments.rounds} rounds.\n")
    print(table(lines), f"\n{NOTES}\n", sep="\n")
    if arguments.plot:
        draw(bench, arguments.rows, arguments.large, arguments.plot)
        print(f"Plot: {arguments.plot}")
    print(last_line(lines))


def _measure(bench: CatalogueBench, arguments: argparse.Namespace) -> None:
    with ExitStack() as stack:
        ours = stack.enter_context(Session(bench.root))
        small, large = (bench.size(ours, count) for count in (arguments.rows, arguments.large))
        empty = bench.empty(ours, arguments.rows)
        check_merges_agree(bench, ours, small)
        for _ in range(arguments.rounds):
            for size in (small, large):
                size_round(bench, ours, size)
            for stock in (None, arguments.stock):
                with Session(bench.root, stock) as session:
                    settings_round(bench, session, small, empty)
            merge_round(bench, "delta-rs day", small)
            merge_round(bench, "delta-rs whole", empty)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-catalogue", description=__doc__)
    parser.add_argument(
        "--rows", type=int, default=SMALL, help="products of the smaller catalogue (default %(default)s)"
    )
    parser.add_argument(
        "--large", type=int, default=LARGE, help="products of the larger one (default %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, help="runs of each operation (default %(default)s)"
    )
    parser.add_argument(
        "--stock",
        type=int,
        default=STOCK,
        help="shuffle partitions of the stock session, with a quarter as many for snapshots "
        "(default %(default)s, as in Spark)",
    )
    parser.add_argument("--plot", type=Path, nargs="?", const=PLOT, help=f"write a plot (default {PLOT})")
    parser.add_argument("--folder", type=Path, help="where to put temporary files; needs 6 GiB")
    return parser.parse_args(sys.argv[1:])


if __name__ == "__main__":
    main()
