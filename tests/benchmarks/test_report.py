from __future__ import annotations

import json

from benchmarks.report import Measure, last_line, table

FAST = Measure("fast", "a thing", 0.5, 1.0, "a peer", goal=0.6, cpu=(1.0, 4.0))
SLOW = Measure("slow", "a thing", 0.5, 1.0, "a peer", "peer/ours", 20)
KNOWN = Measure("known", "a thing", 2.0, 1.0, "a peer")


def test_a_goal_is_a_ceiling_of_ours_over_the_peer_or_a_floor_of_the_peer_over_ours() -> None:
    assert (FAST.value, FAST.met) == (0.5, True)
    assert (SLOW.value, SLOW.met) == (2.0, False)
    assert (KNOWN.value, KNOWN.met) == (2.0, None)


def test_the_table_says_which_goal_is_not_met() -> None:
    lines = table([FAST, SLOW, KNOWN]).splitlines()
    assert lines[2] == "| fast | a thing | 500 ms | 1.00 s | a peer | 0.5 ours/peer | 0.25 | ≤ 0.6 | yes |"
    assert lines[3] == "| slow | a thing | 500 ms | 1.00 s | a peer | 2 peer/ours |  | ≥ 20 | NO |"
    assert lines[4] == "| known | a thing | 2.00 s | 1.00 s | a peer | 2 ours/peer |  |  |  |"


def test_the_last_line_is_the_measures_by_name() -> None:
    assert json.loads(last_line([FAST]))["fast"] == {
        "value": 0.5,
        "unit": "ours/peer",
        "peer": "a peer",
        "goal": 0.6,
        "met": True,
        "cpu_value": 0.25,
        "ours_seconds": 0.5,
        "peer_seconds": 1.0,
    }
