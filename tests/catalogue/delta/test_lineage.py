from __future__ import annotations

from typing import Any

import pytest

from recsim_tasks.catalogue.delta.lineage import lineage
from recsim_tasks.catalogue.delta.log import CommitInfo


def log(*operations: Any) -> list[CommitInfo]:
    """A log, newest first, with a commit a minute: each is an operation's name or the parameters of a
    RESTORE.
    """

    def info(version: int, operation: Any) -> CommitInfo:
        restore = isinstance(operation, dict)
        entry = (
            {"operation": "RESTORE", "operationParameters": operation}
            if restore
            else {"operation": operation}
        )
        return CommitInfo.parse(version, {"timestamp": version * 60_000, **entry})

    return [info(version, operation) for version, operation in enumerate(operations)][::-1]


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
def test_a_version_reflects_its_commits_except_those_that_a_restore_has_undone(
    operations: list[Any], kept: set[int]
) -> None:
    history = log(*operations)
    assert lineage(history, len(operations) - 1) == (frozenset(kept), -1)


def test_a_cleaned_log_gives_the_versions_that_it_still_has() -> None:
    history = log("a", "b", "c", "d")[:2]
    assert lineage(history, 3) == (frozenset({2, 3}), 1)
    assert lineage([*log("a", "b", "c", "d", {"version": 1})[:2]], 4) == (frozenset({4}), 1)


@pytest.mark.parametrize("parameters", [{}, {"version": "x"}, {"timestamp": "yesterday"}, {"version": 7}])
def test_a_restore_without_a_target_cannot_be_followed(parameters: dict[str, Any]) -> None:
    assert lineage(log("a", "b", parameters), 2).complete_to is None
