"""Which ratio answers which goal (P10, P11 and issue B's of shared/research/performance.md)."""

from __future__ import annotations

from benchmarks.catalogue.bench import Bench
from benchmarks.report import Measure

STOCK = "stock Spark settings"
DELTA_RS = "delta-rs's bare merge"


def measures(bench: Bench, small: int, large: int) -> list[Measure]:
    """All lines of the table, from the medians."""
    return [*_settings(bench, small), *_growth(bench, small, large), *_ranges(bench, small, large), _redelivery(bench, small)]


def _settings(bench: Bench, small: int) -> list[Measure]:
    t, day = bench.median, f"{small // 100:,} rows into {small:,}"
    whole = f"{small:,} rows into an empty table"
    return [
        Measure("P10", f"ingest of {day}, first in its process", t("ours day cold"), t("stock day cold"), STOCK, goal=0.6),
        Measure("ingest_day_warm", f"ingest of {day}, warm", t("ours day warm"), t("stock day warm"), STOCK, goal=0.6),
        Measure("ingest_whole", f"ingest of {whole}, warm", t("ours whole"), t("stock whole"), STOCK, goal=0.6),
        Measure("delta_rs_day", f"ingest of {day}, warm", t("ours day warm"), t("delta-rs day"), DELTA_RS),
        Measure("delta_rs_whole", f"ingest of {whole}, warm", t("ours whole"), t("delta-rs whole"), DELTA_RS),
    ]


def _growth(bench: Bench, small: int, large: int) -> list[Measure]:
    t = bench.median
    what = f"1 % into {large:,} against 1 % into {small:,}: "

    def growth(name: str, variant: str, how: str, goal: float | None = None) -> Measure:
        return Measure(name, what + how, t(f"{variant} {large}"), t(f"{variant} {small}"), f"itself at {small:,}", goal=goal)

    return [
        growth("P10_growth", "ours", "ingest", 3.0),
        growth("growth_rewrite", "rewrite", "ingest without deletion vectors, which rewrites the files"),
        growth("growth_delta_rs", "delta-rs", "delta-rs's bare merge, which rewrites the files"),
        Measure("rewrite", f"ingest of 1 % into {large:,}", t(f"ours {large}"), t(f"rewrite {large}"), "without deletion vectors"),
        Measure("delta_rs_large", f"ingest of 1 % into {large:,}", t(f"ours {large}"), t(f"delta-rs {large}"), DELTA_RS),
    ]


def _ranges(bench: Bench, small: int, large: int) -> list[Measure]:
    t = bench.median
    lines = []
    for name, count in (("P11", small), ("P11_large", large)):
        ours, what = t(f"range {count}"), f"the change range of {count // 100:,} of {count:,} products, netted"
        lines.append(Measure(name, what, ours, t(f"spark range {count}"), "warm Spark's change feed", "peer/ours", 20.0))
        lines.append(Measure(f"{name}_scan", what, ours, t(f"scan {count}"), "delta-rs's scan, no pictures", "peer/ours"))
    return lines


def _redelivery(bench: Bench, small: int) -> Measure:
    what = f"redelivery of {small // 100:,} rows, no JVM start on either side"
    return Measure("redelivery", what, bench.median(f"again {small}"), bench.median(f"ours {small}"), "its first ingest", goal=0.05)
