from __future__ import annotations

from typing import Any

import pytest

from recsim_tasks.catalogue.delta.lineage import lineage


def log(*operations: Any) -> list[dict[str, Any]]:
    """A log, newest first, a commit a minute: a name, or what a RESTORE says that it put back."""
    entries = [
        {"version": n, "timestamp": n * 60_000, "operation": "RESTORE" if isinstance(o, dict) else o, "operationParameters": o if isinstance(o, dict) else {}}
        for n, o in enumerate(operations)
    ]  # fmt: skip
    return entries[::-1]


@pytest.mark.parametrize(
    ("operations", "kept"),
    [
        (["a", "b", "c"], {0, 1, 2}),
        (["a", "b", {"version": "0"}], {0, 2}),
        (["a", "b", {"version": 0, "timestamp": None}, "c"], {0, 2, 3}),
        (["a", "b", "c", {"version": 0}, {"version": 2}], {0, 1, 2, 4}),
        (["a", "b", "c", {"version": 0}, "d", {"version": 3}, "e"], {0, 3, 5, 6}),
        (["a", "b", {"version": None, "timestamp": "1970-01-01 00:00:30.0"}], {0, 2}),
        (["a", "b", {"datetime": "1970-01-01T00:01:00+00:00"}], {0, 1, 2}),
    ],
)
def test_a_version_is_made_of_its_commits_but_for_those_that_a_restore_has_undone(
    operations: list[Any], kept: set[int]
) -> None:
    history = log(*operations)
    assert lineage(history, len(operations) - 1) == (frozenset(kept), -1)


def test_of_a_log_that_was_cleaned_the_rest_is_told() -> None:
    history = log("a", "b", "c", "d")[:2]
    assert lineage(history, 3) == (frozenset({2, 3}), 1)
    assert lineage([*log("a", "b", "c", "d", {"version": 1})[:2]], 4) == (frozenset({4}), 1)


@pytest.mark.parametrize("parameters", [{}, {"version": "x"}, {"timestamp": "yesterday"}, {"version": 7}])
def test_a_restore_that_does_not_say_what_it_put_back_cannot_be_followed(parameters: dict[str, Any]) -> None:
    assert lineage(log("a", "b", parameters), 2).below is None
