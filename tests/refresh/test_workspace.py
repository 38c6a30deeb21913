from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from recsim_tasks.contracts import (
    Cursor,
    Estimate,
    EvaluateResult,
    JobResult,
    PlanResult,
    TrainResult,
    TuneResult,
)
from recsim_tasks.foundation.errors import InputError, UnavailableError
from recsim_tasks.foundation.publishing import write_json
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh import workspace as workspace_module
from recsim_tasks.refresh.workspace import Workspace, read_result

PLAN = PlanResult(
    refresh_id="r",
    decision="append",
    reasons=[],
    warm_start=False,
    cursor=Cursor("t", 3),
    head=Cursor("t", 4),
    changes={"insert": 1},
    champion=7,
    champion_unreadable=None,
    estimate=Estimate(images=1, minutes=None),
)


def test_a_result_is_found_by_the_steps_after_it_under_any_run_id(settings: Settings) -> None:
    run_id = "scheduled__2026-11-24T03:00:00+00:00"
    assert Workspace.of(settings, run_id).keep(PLAN) == PLAN
    again = Workspace.of(settings, run_id)
    assert again.plan == PLAN
    assert again.head.version == 4
    assert ":" not in again.folder.name
    assert again.model == again.champion / "model"
    again.keep(PLAN.model_copy(update={"champion": 8}))
    assert (again.champion.name, again.model.parent.name) == ("champion-8", "champion-8")


def test_a_step_that_was_not_run_is_named(settings: Settings) -> None:
    with pytest.raises(
        InputError, match=r"has no result of `train` yet\. Run `recsim train --refresh r` first"
    ):
        Workspace.of(settings, "r").result(TrainResult)


@pytest.mark.parametrize(
    "refresh_id", ["", " ", ".", "..", "...", ". .", "a\nb", "a\0b", "\x1b[31m", "a" * 251, "lone\udcff"]
)
def test_an_invalid_id_is_refused(settings: Settings, refresh_id: str) -> None:
    with pytest.raises(InputError, match="cannot be the id of a refresh"):
        Workspace.of(settings, refresh_id)


def test_ids_that_look_alike_have_workspaces_of_their_own_inside_refreshes(settings: Settings) -> None:
    ids = [
        "nightly:1",
        "nightly+1",
        "nightly-1",
        "Nightly-1",
        "../nightly-1",
        "a/b",
        "~",
        "-x",
        ".hidden",
        "ü" * 250,
    ]
    folders = {Workspace.of(settings, refresh_id).folder for refresh_id in ids}
    assert len({str(folder).lower() for folder in folders}) == len(ids)
    assert {folder.parent for folder in folders} == {settings.home / "refreshes"}
    for folder in folders:
        folder.mkdir(parents=True)


FAULTS = {"cut": '{"head": {"tab', "empty": "", "binary": "\0\x01", "a list": "[1]", "deep": "[" * 100_000}


@pytest.mark.parametrize("model", [PlanResult, TuneResult, EvaluateResult])
@pytest.mark.parametrize("fault", [*FAULTS, "a folder", "a pipe"])
def test_a_result_that_cannot_be_read_is_named_with_what_to_do(
    settings: Settings, model: type[JobResult], fault: str
) -> None:
    workspace = Workspace.of(settings, "r")
    workspace.folder.mkdir(parents=True)
    path = workspace.folder / f"{model.job}.json"
    if fault == "a folder":
        path.mkdir()
    elif fault == "a pipe":
        os.mkfifo(path)
    else:
        path.write_text(FAULTS[fault])
    with pytest.raises(InputError, match=rf"{path}.*`recsim {model.job} --refresh r` again"):
        workspace.result(model)
    assert read_result(workspace.folder, model) is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"decision": None}, "decision"),
        ({"head": 5}, "head"),
        ({"head": {}}, "head.table_id"),
        ({"head": {"table_id": "t", "version": "x"}}, "head.version"),
        ({"champion": "seven"}, "champion"),
        ({"changes": []}, "changes"),
        ({"of an earlier version": 1}, "of an earlier version"),
    ],
)
def test_a_plan_with_a_wrong_field_is_named_with_what_to_do(
    settings: Settings, change: dict[str, object], named: str
) -> None:
    workspace = Workspace.of(settings, "r")
    write_json(workspace.folder / "plan.json", PLAN.model_dump(mode="json") | change)
    with pytest.raises(
        InputError, match=rf"is not a result of `plan`: .*{named}.* `recsim plan --refresh r` again"
    ):
        _ = workspace.head


def test_a_result_of_another_refresh_that_an_outage_hides_is_not_missing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_json(_: Path) -> object:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(workspace_module, "read_json", read_json)
    with pytest.raises(UnavailableError, match=r"plan\.json"):
        read_result(settings.home, PlanResult)


def test_a_result_is_not_written_over_a_folder(settings: Settings) -> None:
    workspace = Workspace.of(settings, "r")
    (workspace.folder / "plan.json").mkdir(parents=True)
    with pytest.raises(InputError, match="Move it away"):
        workspace.keep(PLAN)
