"""`make bench-catalogue`: what a feed costs, printed as ratios that were taken in one run."""

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

PICTURE = Path("docs/images/bench-catalogue.png")
SMALL, LARGE, ROUNDS, STOCK = 70_000, 1_000_000, 3, 200
DONE = """What was done to get there: deletion vectors on, so that a merge writes the rows that it changes and not the files around them; a
feed's ids are broadcast up to 200,000 rows, so that the catalogue is not shuffled; only the rows that change something reach the merge;
4 shuffle partitions for 200, 1 partition for 50 of Delta's own snapshot, no Spark UI, Java's quick compiler only. No clustering and no
pruning by key range: a feed names products anywhere. The change range is read with delta-rs, without pictures; a redelivery is known by
the log, without Spark."""


def main() -> None:
    """Measure, print, draw."""
    arguments = _arguments()
    for name in [name for name in os.environ if name.startswith("RECSIM_")]:
        del os.environ[name]
    load_before = machine("pyspark", "delta-spark", "deltalake")
    with tempfile.TemporaryDirectory(prefix="recsim-bench-", dir=arguments.folder) as folder:
        bench = CatalogueBench(Path(folder))
        _measure(bench, arguments)
    lines = measures(bench, arguments.rows, arguments.large)
    print(f"{load_before} before, {os.getloadavg()[0]:.1f} after; median of {arguments.rounds} rounds.\n")
    print(table(lines), f"\n{DONE}\n", sep="\n")
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
        "--rounds", type=int, default=ROUNDS, help="tries of everything (default %(default)s)"
    )
    parser.add_argument(
        "--stock",
        type=int,
        default=STOCK,
        help="shuffle partitions of the stock session, and four times its snapshot's (default %(default)s, as Spark has them)",
    )
    parser.add_argument(
        "--plot", type=Path, nargs="?", const=PICTURE, help=f"draw a picture (default {PICTURE})"
    )
    parser.add_argument("--folder", type=Path, help="where to work; 6 GiB are needed")
    return parser.parse_args(sys.argv[1:])


if __name__ == "__main__":
    main()
