"""Which ratio answers which goal (P10, P11 and issue B's of shared/research/performance.md)."""

from __future__ import annotations

from benchmarks.catalogue.bench import CatalogueBench
from benchmarks.report import Measure

STOCK = "stock Spark settings"
DELTA_RS = "delta-rs's bare merge"


def measures(bench: CatalogueBench, small: int, large: int) -> list[Measure]:
    """All lines of the table, from the medians."""
    return [
        *_settings(bench, small),
        *_growth(bench, small, large),
        *_ranges(bench, small, large),
        _redelivery(bench, small),
    ]


def _settings(bench: CatalogueBench, small: int) -> list[Measure]:
    day, whole = (
        f"ingest of {small // 100:,} rows into {small:,}",
        f"ingest of {small:,} rows into an empty table, warm",
    )
    return [
        _line(bench, "P10", f"{day}, first in its process", "ours day cold", "stock day cold", STOCK, 0.6),
        _line(bench, "ingest_day_warm", f"{day}, warm", "ours day warm", "stock day warm", STOCK, 0.6),
        _line(bench, "ingest_whole", whole, "ours whole", "stock whole", STOCK, 0.6),
        _line(bench, "delta_rs_day", f"{day}, warm", "ours day warm", "delta-rs day", DELTA_RS),
        _line(bench, "delta_rs_whole", whole, "ours whole", "delta-rs whole", DELTA_RS),
    ]


def _growth(bench: CatalogueBench, small: int, large: int) -> list[Measure]:
    what = f"1 % into {large:,} against 1 % into {small:,}: "
    day = f"ingest of {large // 100:,} rows into {large:,}, warm"

    def growth(name: str, variant: str, how: str, goal: float | None = None) -> Measure:
        return _line(
            bench, name, what + how, f"{variant} {large}", f"{variant} {small}", f"itself at {small:,}", goal
        )

    return [
        growth("P10_growth", "ours", "ingest", 3.0),
        growth("growth_rewrite", "rewrite", "ingest without deletion vectors, which rewrites the files"),
        growth("growth_delta_rs", "delta-rs", "delta-rs's bare merge, which rewrites the files"),
        _line(bench, "rewrite", day, f"ours {large}", f"rewrite {large}", "without deletion vectors"),
        _line(bench, "delta_rs_large", day, f"ours {large}", f"delta-rs {large}", DELTA_RS),
    ]


def _ranges(bench: CatalogueBench, small: int, large: int) -> list[Measure]:
    lines = []
    for name, count in (("P11", small), ("P11_large", large)):
        ours, what = (
            bench.median(f"range {count}").wall,
            f"the change range of {count // 100:,} of {count:,} products, netted",
        )
        spark, scan = (bench.median(f"{peer} {count}").wall for peer in ("spark range", "scan"))
        lines.append(
            Measure(name, what, ours, spark, "warm Spark's change feed, not netted", "peer/ours", 20.0)
        )
        lines.append(
            Measure(
                f"{name}_scan", what, ours, scan, "delta-rs's scan of the table, no pictures", "peer/ours"
            )
        )
    return lines


def _redelivery(bench: CatalogueBench, small: int) -> Measure:
    what = f"redelivery of {small // 100:,} rows, no JVM start on either side"
    return _line(bench, "redelivery", what, f"again {small}", f"ours {small}", "its first ingest", 0.05)


def _line(
    bench: CatalogueBench, name: str, what: str, ours: str, peer: str, against: str, goal: float | None = None
) -> Measure:
    one, other = bench.median(ours), bench.median(peer)
    return Measure(name, what, one.wall, other.wall, against, goal=goal, cpu=(one.cpu, other.cpu))
