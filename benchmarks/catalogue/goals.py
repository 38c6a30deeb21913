"""The lines of the table, and the goals that they are measured against (P10, P11)."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.catalogue.bench import CatalogueBench
from benchmarks.report import Measure

STOCK = "stock Spark settings"
DELTA_RS = "delta-rs merge only"


@dataclass(frozen=True)
class _Comparison:
    """A line of the table: `name` of the goal and the names of both times."""

    name: str
    what: str
    ours: str
    peer: str
    against: str
    goal: float | None = None

    def measure(self, bench: CatalogueBench) -> Measure:
        one, other = bench.median(self.ours), bench.median(self.peer)
        cpu = (one.cpu, other.cpu)
        return Measure(self.name, self.what, one.wall, other.wall, self.against, goal=self.goal, cpu=cpu)


def measures(bench: CatalogueBench, small: int, large: int) -> list[Measure]:
    """Return all lines of the table, from medians."""
    return [
        *(line.measure(bench) for line in _settings(small)),
        *(line.measure(bench) for line in _growth(small, large)),
        *_ranges(bench, small, large),
        _redelivery(small).measure(bench),
    ]


def _settings(small: int) -> list[_Comparison]:
    day, whole = (
        f"ingest of {small // 100:,} rows into {small:,}",
        f"ingest of {small:,} rows into an empty table, warm",
    )
    return [
        _Comparison("P10", f"{day}, first in its process", "ours day cold", "stock day cold", STOCK, 0.6),
        _Comparison("ingest_day_warm", f"{day}, warm", "ours day warm", "stock day warm", STOCK, 0.6),
        _Comparison("ingest_whole", whole, "ours whole", "stock whole", STOCK, 0.6),
        _Comparison("delta_rs_day", f"{day}, warm", "ours day warm", "delta-rs day", DELTA_RS),
        _Comparison("delta_rs_whole", whole, "ours whole", "delta-rs whole", DELTA_RS),
    ]


def _growth(small: int, large: int) -> list[_Comparison]:
    what = f"1% into {large:,} vs 1% into {small:,}: "
    day = f"ingest of {large // 100:,} rows into {large:,}, warm"

    def growth(name: str, variant: str, how: str, goal: float | None = None) -> _Comparison:
        return _Comparison(
            name, what + how, f"{variant} {large}", f"{variant} {small}", f"itself at {small:,}", goal
        )

    return [
        growth("P10_growth", "ours", "ingest", 3.0),
        growth("growth_rewrite", "rewrite", "ingest without deletion vectors, which rewrites the files"),
        growth("growth_delta_rs", "delta-rs", "delta-rs merge only, which rewrites the files"),
        _Comparison("rewrite", day, f"ours {large}", f"rewrite {large}", "without deletion vectors"),
        _Comparison("delta_rs_large", day, f"ours {large}", f"delta-rs {large}", DELTA_RS),
    ]


def _ranges(bench: CatalogueBench, small: int, large: int) -> list[Measure]:
    lines = []
    for name, count in (("P11", small), ("P11_large", large)):
        ours, what = (
            bench.median(f"range {count}").wall,
            f"net changes of {count // 100:,} of {count:,} products",
        )
        spark, scan = (bench.median(f"{peer} {count}").wall for peer in ("spark range", "scan"))
        lines.append(
            Measure(name, what, ours, spark, "change feed of warm Spark, not netted", "peer/ours", 20.0)
        )
        lines.append(
            Measure(
                f"{name}_scan", what, ours, scan, "delta-rs scan of the table without images", "peer/ours"
            )
        )
    return lines


def _redelivery(small: int) -> _Comparison:
    what = f"redelivery of {small // 100:,} rows, no JVM start on either side"
    return _Comparison("redelivery", what, f"again {small}", f"ours {small}", "its first ingest", 0.05)
