from __future__ import annotations

import pytest

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh.workspace import Workspace


def test_a_result_is_found_by_the_steps_after_it_under_any_run_id(settings: Settings) -> None:
    run_id = "scheduled__2026-11-24T03:00:00+00:00"
    Workspace.of(settings, run_id).keep("plan", {"decision": "append", "head": {"table_id": "t", "version": 4}, "champion": 7})
    again = Workspace.of(settings, run_id)
    assert again.result("plan")["decision"] == "append"
    assert again.head.version == 4
    assert ":" not in again.folder.name
    assert again.model == again.champion / "model"
    again.keep("plan", {**again.result("plan"), "champion": 8})
    assert (again.champion.name, again.model.parent.name) == ("champion-8", "champion-8")


def test_a_step_that_was_not_run_is_named(settings: Settings) -> None:
    with pytest.raises(InputError, match="has no train yet"):
        Workspace.of(settings, "r").result("train")
