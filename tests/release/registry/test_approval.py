"""A release that needs an approval, from the request to the answer, and every way around the answer."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from recsim_tasks.cli.main import app
from recsim_tasks.foundation.errors import RejectedError
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.registry.approval import Approval, approval_of, refusal
from recsim_tasks.release.registry.client import Registry
from recsim_tasks.release.registry.promotion import Promotions
from release.killed import copied, in_a_child
from release.registered import move_alias, register
from release.registry.test_promotion import in_production, other_bundle, state, three, three_releases

__all__ = ["other_bundle", "three", "three_releases"]
NINE, TEN, ELEVEN = 1_800_000_000.0, 1_800_003_600.0, 1_800_007_200.0


@pytest.fixture
def awaiting(three: Promotions, bundle: Path) -> Promotions:
    """Release 4 waits for an answer."""
    assert register(three.registry, bundle, refresh="the fourth", ask=True) == 4
    return three


def approval(promotions: Promotions) -> Approval:
    current = approval_of(promotions.registry.version(4).tags)
    assert current is not None
    return current


def rejected(promotions: Promotions) -> Promotions:
    answer = promotions.reject(4, Approval("rejected", "ada", TEN, "airflow", "the shoes look like bags"))
    assert str(answer) == (
        "Release 4 stays in Staging: ada rejected it on 2027-01-15 09:00 UTC: the shoes look like bags. "
        "It needs a new approval: clear the task `approve` of refresh the fourth in Airflow to be asked "
        "again."
    )
    return promotions


def test_a_release_that_waits_for_an_answer_is_not_promoted_without_one(awaiting: Promotions) -> None:
    for attempt in (
        lambda: awaiting.promote(4),
        lambda: awaiting.promote(4, "refresh", "airflow"),
        lambda: awaiting.rollback(4, "", "bob"),
    ):
        with pytest.raises(
            RejectedError,
            match="it waits for an approval: respond to the task `approve` of refresh the fourth in Airflow",
        ):
            attempt()
    move_alias(awaiting.registry, 4)
    production = awaiting.registry.production()
    assert production.release is not None
    assert production.release.version == 2
    move_alias(awaiting.registry, 2)
    assert in_production(awaiting) == [2, 2, 2]


def test_an_approval_is_kept_with_the_release(awaiting: Promotions) -> None:
    assert awaiting.promote(4, "ada", "airflow", TEN).version == 4
    assert approval(awaiting) == Approval("approved", "ada", TEN, "airflow")
    assert in_production(awaiting) == [4, 4, 4]
    assert (awaiting.history()[-1].by, awaiting.history()[-1].through) == ("ada", "airflow")
    assert awaiting.promote(4, "ada", "airflow", TEN).version == 4


def test_a_rejected_release_is_promoted_by_no_retry_no_clear_no_hand_and_no_rollback(
    awaiting: Promotions,
) -> None:
    rejected(awaiting)
    before = state(awaiting)
    attempts: dict[str, Callable[[], object]] = {
        "by hand": lambda: awaiting.promote(4, "bob"),
        "a refresh that does not ask": lambda: awaiting.promote(4, "refresh", "airflow"),
        "the approval of before": lambda: awaiting.promote(4, "bob", "airflow", NINE),
        "the same moment": lambda: awaiting.promote(4, "bob", "airflow", TEN),
        "a rollback": lambda: awaiting.rollback(4, "it is good", "bob"),
    }
    for attempt in attempts.values():
        with pytest.raises(
            RejectedError, match="ada rejected it on 2027-01-15 09:00 UTC: the shoes look like bags"
        ):
            attempt()
    assert (state(awaiting), awaiting.freeze()) == (before, None)
    move_alias(awaiting.registry, 4)
    problem = awaiting.registry.production().problem
    assert problem is not None
    assert "ada rejected it" in problem


def test_registering_it_again_takes_no_rejection_back(awaiting: Promotions, bundle: Path) -> None:
    rejected(awaiting)
    for ask in (True, False):
        register(awaiting.registry, bundle, refresh="the fourth", ask=ask)
        assert approval(awaiting).state == "rejected"


def test_a_new_approval_lifts_a_rejection(awaiting: Promotions) -> None:
    rejected(awaiting)
    assert awaiting.promote(4, "grace", "airflow", ELEVEN).version == 4
    assert approval(awaiting) == Approval("approved", "grace", ELEVEN, "airflow")
    assert in_production(awaiting) == [4, 4, 4]


def test_a_repeated_rejection_changes_neither_a_later_approval_nor_production(
    awaiting: Promotions,
) -> None:
    rejected(awaiting)
    assert "ada rejected it" in str(awaiting.reject(4, Approval("rejected", "ada", TEN, "airflow")))
    awaiting.promote(4, "grace", "airflow", ELEVEN)
    assert "is in Production already" in str(awaiting.reject(4, Approval("rejected", "ada", TEN, "airflow")))
    awaiting.rollback(2, "poor", "bob")
    assert (
        str(awaiting.reject(4, Approval("rejected", "ada", TEN, "airflow")))
        == "Release 4 stays in Staging: it was approved later."
    )
    assert approval(awaiting).state == "approved"


def test_a_release_without_a_request_for_approval_can_be_rejected_by_hand(three: Promotions) -> None:
    three.reject(3, Approval("rejected", "ada", TEN, "cli"))
    with pytest.raises(RejectedError, match="ada rejected it"):
        three.promote(3)


def test_a_rejection_killed_at_any_call_leaves_the_release_where_it_was(
    awaiting: Promotions, with_registry: Settings, tmp_path: Path
) -> None:
    states = []
    for fatal in range(1, 10):
        settings = copied(with_registry, tmp_path / f"killed at {fatal}")
        rejection = Approval("rejected", "ada", TEN, "airflow")
        status = in_a_child(fatal, lambda: Promotions(Registry(settings)).reject(4, rejection))  # noqa: B023
        promotions = Promotions(Registry(settings))
        with pytest.raises(RejectedError, match=r"Release 4 stays in Staging: .*"):
            promotions.promote(4)
        states.append(approval(promotions).state)
        if status == 0:
            break
        assert status == -signal.SIGKILL
    assert states == ["awaited", "rejected"]


def test_no_request_and_an_approval_are_no_reason_to_refuse() -> None:
    assert refusal({}) is None
    assert refusal({"approval": Approval("approved", "ada", TEN).as_tag()}) is None


def test_a_reason_of_any_length_fits_the_registry(awaiting: Promotions) -> None:
    awaiting.reject(4, Approval("rejected", "ada", TEN, "airflow", "ü" * 20_000))
    assert len(approval(awaiting).reason) == 1000


def test_the_command_line_rejects_and_promotes_with_the_exit_codes_of_the_contract(
    with_registry: Settings, read_only_bundle: Path
) -> None:
    registry = Registry(with_registry)
    register(registry, read_only_bundle, refresh="one", ask=True)

    def recsim(*arguments: str) -> tuple[int, dict[str, Any]]:
        done = CliRunner().invoke(app, arguments)
        return done.exit_code, json.loads(done.stdout.splitlines()[-1])

    by = ("--by", "ada", "--through=airflow")
    code, result = recsim("promote", "--version", "1", "--by", "refresh", "--through=airflow")
    assert (code, result["error"]) == (
        3,
        (
            "Release 1 stays in Staging: it waits for an approval: "
            "respond to the task `approve` of refresh one in Airflow."
        ),
    )
    code, result = recsim(
        "promote", "--version", "1", *by, "--answered-at=2027-01-15T09:00:00.123456+00:00", "--reject"
    )
    assert code == 3
    assert "ada rejected it on 2027-01-15 09:00 UTC" in str(result["error"])
    assert recsim("promote", "--version", "1", *by)[0] == 3
    code, result = recsim("promote", "--version", "1", *by, "--answered-at=2027-01-15T09:05:00+00:00")
    assert (code, result["stage"]) == (0, "Production")
    assert recsim("rollback")[0] == 2
    code, result = recsim("releases", "--json")
    (entry,) = result["releases"]
    assert (entry["by"], entry["through"]) == ("ada", "airflow")
