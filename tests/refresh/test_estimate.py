from __future__ import annotations

import os

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from recsim_tasks.contracts import Decision, EmbedResult, PromoteResult, VerifyResult
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh.estimate import past_minutes
from recsim_tasks.refresh.history import evaluated_refreshes
from recsim_tasks.refresh.workspace import Workspace
from recsim_tasks.vectors.embeddings import without_embedding
from refresh.test_workspace import PLAN


def refreshed(
    settings: Settings, number: int, decision: Decision, minutes: float, finished: bool = True
) -> None:
    workspace = Workspace.of(settings, f"r{number}")
    workspace.keep(PLAN.model_copy(update={"decision": decision, "elapsed_seconds": 6.0}))
    embedded = EmbedResult(embedded=1, reused=0, of=1, unembeddable=0, elapsed_seconds=minutes * 60 - 6)
    workspace.keep(embedded)
    if finished:
        workspace.keep(PromoteResult(version=number, previous=None, stage="Production"))
    os.utime(workspace.folder / "plan.json", (1000 + number,) * 2)


def test_the_time_is_the_median_of_the_last_five_finished_refreshes_of_the_same_decision(
    settings: Settings,
) -> None:
    for number, minutes in enumerate([90, 91, 5, 4, 3, 2, 1]):
        refreshed(settings, number, "append", minutes)
    refreshed(settings, 20, "append", 500, finished=False)
    refreshed(settings, 21, "retrain", 40)
    assert past_minutes(settings, "append") == 3
    assert past_minutes(settings, "retrain") == 40
    assert past_minutes(settings, "rebuild") is None


def test_a_skip_is_finished_when_it_is_planned(settings: Settings) -> None:
    Workspace.of(settings, "s").keep(PLAN.model_copy(update={"decision": "skip", "elapsed_seconds": 30.0}))
    assert past_minutes(settings, "skip") == 0.5


def test_without_a_refresh_there_is_no_time_and_a_broken_result_is_skipped(settings: Settings) -> None:
    assert past_minutes(settings, "append") is None
    folder = Workspace.of(settings, "r").folder
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text("{half")
    assert past_minutes(settings, "append") is None


def test_the_time_that_verify_waits_is_counted_once(settings: Settings) -> None:
    refreshed(settings, 1, "append", 5)
    waited = VerifyResult(version=1, live=True, waited_seconds=60.0, reasons=[], elapsed_seconds=60.0)
    Workspace.of(settings, "r1").keep(waited)
    assert past_minutes(settings, "append") == 6


@pytest.mark.parametrize(("model", "missing"), [("m", 1), ("other", 3), (None, 3)])
def test_images_without_an_embedding_of_the_model_are_counted_once(
    settings: Settings, model: str | None, missing: int
) -> None:
    hashes = pa.chunked_array([["a", "b"], ["b", "c"]])
    assert len(without_embedding(settings.embeddings_uri, model, hashes.unique())) == 3
    done = {
        "model_fingerprint": ["m", "m", "m"],
        "image_hash": ["a", "b", "elsewhere"],
        "embedding": [[1.0]] * 3,
    }
    write_deltalake(settings.embeddings_uri, pa.table(done), partition_by=["model_fingerprint"])
    assert len(without_embedding(settings.embeddings_uri, model, hashes.unique())) == missing


def test_broken_results_of_old_refreshes_stop_no_plan(settings: Settings) -> None:
    refreshed(settings, 1, "append", 5)
    folders = [Workspace.of(settings, f"odd{number}").folder for number in range(9)]
    for folder in folders:
        folder.mkdir(parents=True)
    for folder, text in zip(
        folders[:5],
        ["", "[1]", "\0", "[" * 100_000, '{"decision": ["append"], "elapsed_seconds": "x"}'],
        strict=True,
    ):
        (folder / "plan.json").write_text(text)
    (folders[5] / "plan.json").mkdir()
    os.mkfifo(folders[6] / "plan.json")
    (folders[7] / "plan.json").symlink_to("nothing")
    (folders[8] / "plan.json").write_text('{"decision": "append", "champion": 1, "elapsed_seconds": "x"}')
    (folders[8] / "promote.json").write_text('{"elapsed_seconds": {}}')
    (folders[8] / "evaluate.json").write_text('{"mended_by_rebuild": true, "elapsed_seconds": null}')
    (settings.home / "refreshes" / "a file").touch()
    assert past_minutes(settings, "append") == 5
    assert evaluated_refreshes(settings) == []
