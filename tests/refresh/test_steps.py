from __future__ import annotations

import re
import threading
import time
from typing import Any

import pytest
from deltalake import DeltaTable, write_deltalake

from recsim_tasks.contracts import TrainResult, TuneResult
from recsim_tasks.foundation.errors import InputError, MissingError, RejectedError
from recsim_tasks.foundation.gpus import CPU_ONLY, UsableGpus
from recsim_tasks.foundation.leases import lease
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh import steps
from recsim_tasks.refresh.workspace import Workspace
from recsim_tasks.vectors.index import Index
from refresh.conftest import PRODUCTS, at_head
from refresh.test_plan_inputs import planned
from release.bundles import TRAINING, products

TUNED = TuneResult(
    best_params={"learning_rate": 0.002},
    trials=7,
    failed=0,
    pruned=0,
    metric="map_at_r",
    best_score=0.5,
    champion_score=None,
    reasons=[],
)
TRAINED = TrainResult(
    model_fingerprint="f", ranks=1, metrics={}, quality={}, mlflow_run_id="run", trained_at=1.0
)


def test_writing_the_index_of_a_refresh_waits_for_another_writer(behind: Settings) -> None:
    planned(behind)
    workspace = Workspace.of(behind, "r")
    append = threading.Thread(target=steps.append_index, args=(behind, workspace))
    with lease(behind.home, str(workspace.index)):
        append.start()
        time.sleep(1)
        assert append.is_alive()
        assert not workspace.index.exists()
    append.join(timeout=60)
    assert len(Index.open(workspace.index)) == PRODUCTS


def test_an_outdated_index_fails_the_verification(behind: Settings) -> None:
    planned(behind)
    workspace = Workspace.of(behind, "r")
    steps.append_index(behind, workspace)
    result = steps.verify_index(behind, workspace)
    assert (result.equal, result.compared, result.differing, result.overlap) == (True, PRODUCTS, 0, 1.0)
    DeltaTable(behind.products_uri).update({"price": "1.0"}, predicate="product_id < 'p007'")
    planned(behind)
    with pytest.raises(RejectedError, match="0 are missing, 0 unexpected and 7 outdated") as rejected:
        steps.verify_index(behind, workspace)
    assert rejected.value.result["equal"] is False


def test_a_plan_says_what_share_of_the_catalogue_a_training_sees(behind: Settings) -> None:
    whole = planned(behind, mode="retrain").reasons
    assert not any("RECSIM_TRAIN_IMAGES" in reason for reason in whole)
    small = behind.model_copy(update={"train_images": 20})
    assert re.fullmatch(
        r"The training sees 20 of \d+ training images, \d+%, each once \(RECSIM_TRAIN_IMAGES\)\.",
        planned(small, mode="retrain").reasons[-1],
    )
    assert not any("RECSIM_TRAIN_IMAGES" in reason for reason in planned(small).reasons), "nothing is trained"


def test_a_plan_of_a_training_is_refused_when_tensorflow_sees_too_few_gpus(
    behind: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsim_tasks.foundation.gpus.ask_tensorflow", lambda: UsableGpus(0, CPU_ONLY))
    with_gpus = behind.model_copy(update={"gpus": 2})
    with pytest.raises(MissingError, match="2 GPUs are requested"):
        planned(with_gpus, mode="retrain")
    assert planned(with_gpus).decision == "skip", "what trains nothing needs no GPU"


def test_a_search_begins_with_the_champions_own_values(
    behind: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    def tune(*arguments: Any) -> TuneResult:
        calls.append(arguments)
        return TUNED

    monkeypatch.setattr("recsim_tasks.learning.tuning.tune.tune", tune)
    planned(behind, mode="retrain")
    steps.tune(behind, Workspace.of(behind, "r"), 7)
    (_, cursor, out, trials, own) = calls[0]
    assert (cursor, out.name, trials, own) == (at_head(behind), "trials.json", 7, TRAINING.params)


@pytest.mark.parametrize("warm", [True, False])
def test_a_training_starts_from_the_champion_when_it_is_planned_so(
    behind: Settings, monkeypatch: pytest.MonkeyPatch, warm: bool
) -> None:
    calls: list[Any] = []

    def train(*arguments: Any) -> TrainResult:
        calls.append(arguments)
        return TRAINED

    monkeypatch.setattr("recsim_tasks.learning.training.train.train", train)
    settings = behind.model_copy(
        update={"warm_start": warm, "image_size": 16, "image_channels": 1, "embedding_size": 8}
    )
    planned(settings, mode="retrain")
    workspace = Workspace.of(settings, "r")
    workspace.keep(TUNED)
    assert steps.train(settings, workspace) == TRAINED
    assert calls[0][2:] == (
        {"learning_rate": 0.002},
        workspace.own_model,
        workspace.champion / "model" if warm else None,
    )


def test_a_catalogue_with_a_product_twice_is_named_by_the_plan(behind: Settings) -> None:
    write_deltalake(behind.products_uri, products(1), mode="append")
    with pytest.raises(InputError, match="more than once: p"):
        steps.plan(behind, Workspace.of(behind, "r"), "auto")
