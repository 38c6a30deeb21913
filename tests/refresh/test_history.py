from __future__ import annotations

from dataclasses import replace

from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh.history import (
    EvaluatedRefresh,
    evaluated_refreshes,
    last_compared_with,
    training_rejected,
)
from recsim_tasks.refresh.workspace import Workspace
from refresh.test_workspace import PLAN
from release.registered import REJECTED

REFRESH = EvaluatedRefresh(
    refresh_id="r",
    decision="retrain",
    champion=1,
    at=100.0,
    rejected=True,
    mended_by_rebuild=False,
    reasons="Worse.",
    drift=None,
    model_fingerprint="new",
)


def test_a_rejected_training_counts_if_it_is_newer_and_made_another_encoder() -> None:
    assert training_rejected([REFRESH], since=99.0, model_fingerprint="serving")
    assert not training_rejected([REFRESH], since=101.0, model_fingerprint="serving")
    assert not training_rejected([REFRESH], since=99.0, model_fingerprint="new")
    assert not training_rejected([replace(REFRESH, rejected=False)], 99.0, "serving")
    assert not training_rejected([replace(REFRESH, decision="append")], 99.0, "serving")


def test_the_newest_refresh_that_was_compared_with_the_champion_counts() -> None:
    older = replace(REFRESH, refresh_id="older")
    assert last_compared_with([REFRESH, older], 1) is REFRESH
    assert last_compared_with([REFRESH], 2) is None


def test_an_evaluated_refresh_is_read_from_its_workspace(settings: Settings) -> None:
    workspace = Workspace.of(settings, "r")
    workspace.keep(PLAN)
    assert evaluated_refreshes(settings) == []
    workspace.keep(REJECTED.model_copy(update={"champion": 7, "mended_by_rebuild": True}))
    workspace.keep(PLAN.model_copy(update={"decision": "rebuild"}))
    (refresh,) = evaluated_refreshes(settings)
    assert (refresh.refresh_id, refresh.champion, refresh.rejected) == ("r", 7, True)
    assert refresh.decision == "append", "what was evaluated, not what was planned since"
    assert refresh.rejected_append == (
        "The gate rejected what refresh r appended to the champion's index: It is worse."
    )
