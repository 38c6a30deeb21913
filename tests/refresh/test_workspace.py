from __future__ import annotations

import os

import pytest

from recsim_tasks.foundation.errors import InputError
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh.workspace import Workspace, read_result


def test_a_result_is_found_by_the_steps_after_it_under_any_run_id(settings: Settings) -> None:
    run_id = "scheduled__2026-11-24T03:00:00+00:00"
    Workspace.of(settings, run_id).keep(
        "plan", {"decision": "append", "head": {"table_id": "t", "version": 4}, "champion": 7}
    )
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


@pytest.mark.parametrize(
    "refresh_id", ["", " ", ".", "..", "...", ". .", "a\nb", "a\0b", "\x1b[31m", "a" * 251, "lone\udcff"]
)
def test_what_is_no_id_is_refused(settings: Settings, refresh_id: str) -> None:
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


@pytest.mark.parametrize("job", ["plan", "tune", "evaluate"])
@pytest.mark.parametrize("fault", [*FAULTS, "a folder", "a pipe"])
def test_a_result_that_cannot_be_read_is_named_with_what_to_do(
    settings: Settings, job: str, fault: str
) -> None:
    workspace = Workspace.of(settings, "r")
    workspace.folder.mkdir(parents=True)
    path = workspace.folder / f"{job}.json"
    if fault == "a folder":
        path.mkdir()
    elif fault == "a pipe":
        os.mkfifo(path)
    else:
        path.write_text(FAULTS[fault])
    with pytest.raises(InputError, match=rf"{path}.*`recsim {job} --refresh r` again"):
        workspace.result(job)
    assert read_result(path) == {}


@pytest.mark.parametrize(
    "planned",
    [
        {},
        {"head": 5},
        {"head": {}},
        {"head": {"table_id": "t", "version": "x"}},
        {"head": None},
        {"champion": "7"},
        {"changes": []},
    ],
)
def test_a_plan_with_a_field_of_another_type_is_named_with_what_to_do(
    settings: Settings, planned: dict[str, object]
) -> None:
    workspace = Workspace.of(settings, "r")
    workspace.keep("plan", planned)
    with pytest.raises(InputError, match="`recsim plan --refresh r` again"):
        _ = (workspace.head, workspace.champion, workspace.result("plan")["changes"])


def test_a_result_is_not_written_over_a_folder(settings: Settings) -> None:
    workspace = Workspace.of(settings, "r")
    (workspace.folder / "plan.json").mkdir(parents=True)
    with pytest.raises(InputError, match="Move it away"):
        workspace.keep("plan", {})
