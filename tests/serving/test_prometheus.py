from __future__ import annotations

from pathlib import Path

from recsim_tasks.serving.prometheus import GAUGES, Metrics, delete_gauges_of_dead_workers


def test_a_gauge_has_no_value_before_the_first_one_is_set() -> None:
    metrics = Metrics()
    assert not any(f"\n{name} " in metrics.page().decode() for name in GAUGES)
    assert metrics.oldest_release() == 0
    metrics.set_gauge("recsim_release", 7)
    assert metrics.oldest_release() == 7
    assert "\nrecsim_release 7.0\n" in metrics.page().decode()


def test_apps_of_one_process_do_not_add_up() -> None:
    first, second = Metrics(), Metrics()
    first.refused.inc()
    assert "recsim_overload_total 0.0" in second.page().decode()


def test_only_gauges_of_dead_workers_are_deleted(tmp_path: Path) -> None:
    dead = 2**22 + 1  # above the kernel's largest process id
    for name in (f"gauge_livemin_{dead}.db", "gauge_livemin_1.db", f"counter_{dead}.db"):
        (tmp_path / name).touch()
    delete_gauges_of_dead_workers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"gauge_livemin_1.db", f"counter_{dead}.db"}
