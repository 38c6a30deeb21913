from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benchmarks.catalogue.bench import CatalogueBench
from benchmarks.catalogue.goals import measures
from benchmarks.catalogue.plot import draw
from benchmarks.catalogue.rounds import check_merges_agree, range_round
from benchmarks.catalogue.sessions import Session, Time

from recsim_tasks.foundation.settings import Settings
from recsim_tasks.foundation.spark import spark_session


class Here(Session):
    """The session of this process, where a bench starts one of its own."""

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)


@pytest.mark.bench
@pytest.mark.spark
def test_an_ingest_leaves_the_products_that_delta_rs_merge_leaves_and_the_range_names_the_feeds(
    settings: Settings, tmp_path: Path
) -> None:
    bench, session = CatalogueBench(tmp_path), Here(tmp_path)
    with spark_session(settings, "test of the benchmark"):
        size = bench.size(session, 1_000)
        check_merges_agree(bench, session, size)
        with bench.copy(size.home) as home:
            bench.ingest("ours 1000", session, home, size.feed)
            bench.redeliver("again 1000", session, home, size.feed)
            range_round(bench, session, size, home, reads=1)
    assert bench.times.keys() == {"ours 1000", "again 1000", "range 1000", "scan 1000", "spark range 1000"}


def test_goals_and_plot_follow_the_measures(tmp_path: Path) -> None:
    bench = CatalogueBench(tmp_path, defaultdict(lambda: [Time(2.0, 3.0)]))
    bench.times["stock day cold"] = [Time(4.0, 3.0), Time(5.0, 3.0), Time(90.0, 3.0)]
    by_name = {line.name: line for line in measures(bench, 10, 100)}
    assert (by_name["P10"].value, by_name["P10"].met) == (0.4, True)
    assert (by_name["P11"].value, by_name["P11"].met) == (1.0, False)
    goals = "P10 P10_growth P11 P11_large ingest_day_warm ingest_whole redelivery"
    assert sorted(name for name, line in by_name.items() if line.goal) == goals.split()
    draw(bench, 10, 100, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
