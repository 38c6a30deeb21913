"""register, gate and promote on a real catalogue and a real registry: a rejected release goes nowhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from deltalake import CommitProperties, DeltaTable

from recsim_tasks.contracts import REGISTERED_MODEL, EvaluateResult, GateResult
from recsim_tasks.foundation.errors import InputError, RejectedError
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh import release_steps, steps
from recsim_tasks.refresh.evaluate import PAGE, evaluate
from recsim_tasks.refresh.workspace import Workspace
from recsim_tasks.release.registry.client import Registry
from recsim_tasks.release.registry.promotion import Promotions
from recsim_tasks.vectors.index import Index
from refresh.test_evaluate import appended
from refresh.test_plan_inputs import change
from release.registered import PASSED, REJECTED, stages

pytestmark = pytest.mark.usefixtures("shared_spark")


def keep(workspace: Workspace, evaluation: EvaluateResult) -> None:
    """Leave what `evaluate` leaves."""
    fingerprint = Index.open(workspace.index).metadata.index_fingerprint
    workspace.keep(evaluation.model_copy(update={"champion": 1, "index_fingerprint": fingerprint}))
    (workspace.folder / PAGE).write_text("<p>The page.</p>")


@pytest.fixture
def evaluated(behind: Settings) -> Workspace:
    """A refresh whose release is evaluated and passes."""
    change(behind)
    workspace = appended(behind)
    keep(workspace, PASSED)
    return workspace


@pytest.fixture
def rejected(evaluated: Workspace) -> Workspace:
    """A refresh whose release is evaluated and rejected."""
    keep(evaluated, REJECTED)
    return evaluated


def artifact(settings: Settings, version: int, name: str, folder: Path) -> str:
    """What the run of a release keeps under `verdict/`."""
    client = Registry(settings).client
    run = client.get_model_version(REGISTERED_MODEL, str(version)).run_id
    assert run is not None
    return Path(client.download_artifacts(run, f"verdict/{name}", str(folder))).read_text()


def test_a_release_is_registered_with_its_verdict_and_its_origin(behind: Settings, tmp_path: Path) -> None:
    change(behind)
    feed = json.dumps({"feed_id": "tuesday", "refresh": "r"})
    commit = CommitProperties(custom_metadata={"userMetadata": feed})
    DeltaTable(behind.products_uri).update(
        {"price": "1.0"}, predicate="product_id = 'p020'", commit_properties=commit
    )
    workspace = appended(behind)
    evaluation = workspace.keep(evaluate(behind, workspace))
    registered = workspace.keep(release_steps.register(behind, workspace))
    assert registered == release_steps.register(behind, workspace), "once for each refresh"
    assert (registered.version, registered.previous, registered.stage) == (2, 1, "Staging")
    assert registered.mlflow_page.endswith("/artifacts/verdict/verdict.html")
    tags: dict[str, Any] = Registry(behind).client.get_model_version(REGISTERED_MODEL, "2").tags
    assert (tags["gate.verdict"], tags["gate.champion"]) == ("passed", "1")
    assert (tags["refresh_id"], tags["feeds"]) == ("r", "tuesday")
    stored = EvaluateResult.model_validate_json(artifact(behind, 2, "verdict.json", tmp_path))
    assert stored == evaluation
    assert artifact(behind, 2, "verdict.html", tmp_path) == (workspace.folder / PAGE).read_text()


def test_the_gate_lets_a_passed_release_pass(behind: Settings, evaluated: Workspace) -> None:
    registered = evaluated.keep(release_steps.register(behind, evaluated))
    result = release_steps.gate(behind, evaluated)
    assert (result.version, result.verdict, result.mlflow_page) == (2, "passed", registered.mlflow_page)
    assert result.reasons == evaluated.result(EvaluateResult).reasons
    assert result == release_steps.gate(behind, evaluated)


def test_a_rejected_release_is_registered_in_staging_and_stops_at_the_gate(
    behind: Settings, rejected: Workspace
) -> None:
    registered = rejected.keep(release_steps.register(behind, rejected))
    assert (registered.version, registered.stage, registered.verdict) == (2, "Staging", "rejected")
    with pytest.raises(RejectedError, match=r"The gate rejected release 2\. It is worse\.") as stopped:
        release_steps.gate(behind, rejected)
    result = GateResult.model_validate(stopped.value.result)
    assert (result.version, result.verdict) == (2, "rejected")
    assert result.reasons == ["It is worse."]
    assert stages(Registry(behind)) == {1: "Production", 2: "Staging"}


def test_a_rejected_release_is_not_promoted_by_going_around_the_gate(
    behind: Settings, rejected: Workspace
) -> None:
    rejected.keep(release_steps.register(behind, rejected))
    for through in ("airflow", "cli"):
        with pytest.raises(RejectedError, match="The gate rejected release 2, it stays in Staging"):
            release_steps.promote(behind, 2, "ada", through, answered_at=2e9)
    with pytest.raises(RejectedError, match="Release 2 may not go into Production: the gate rejected it"):
        release_steps.rollback(behind, 2, "typing error", "ada", "cli")
    assert stages(Registry(behind)) == {1: "Production", 2: "Staging"}


def test_the_gate_reads_the_registry_and_not_the_workspace(behind: Settings, rejected: Workspace) -> None:
    registered = release_steps.register(behind, rejected)
    rejected.keep(registered.model_copy(update={"verdict": "passed"}))
    evaluation = rejected.result(EvaluateResult)
    rejected.keep(evaluation.model_copy(update={"verdict": "passed"}))
    with pytest.raises(RejectedError, match="The gate rejected release 2"):
        release_steps.gate(behind, rejected)


def test_after_another_evaluation_the_one_release_has_the_last_verdict(
    behind: Settings, rejected: Workspace
) -> None:
    rejected.keep(release_steps.register(behind, rejected))
    keep(rejected, PASSED)
    assert rejected.keep(release_steps.register(behind, rejected)).version == 2
    assert release_steps.gate(behind, rejected).verdict == "passed"
    keep(rejected, REJECTED)
    assert rejected.keep(release_steps.register(behind, rejected)).version == 2
    with pytest.raises(RejectedError):
        release_steps.gate(behind, rejected)


def test_a_release_in_production_keeps_the_verdict_it_was_promoted_with(
    behind: Settings, evaluated: Workspace
) -> None:
    evaluated.keep(release_steps.register(behind, evaluated))
    Promotions(Registry(behind)).promote(2)
    keep(evaluated, REJECTED)
    registered = release_steps.register(behind, evaluated)
    assert (registered.stage, registered.verdict) == ("Production", "passed")
    assert release_steps.gate(behind, evaluated).verdict == "passed"


def test_the_gate_needs_a_registered_release(behind: Settings, evaluated: Workspace) -> None:
    with pytest.raises(
        InputError, match=r"has no result of `register` yet\. Run `recsim register --refresh r` first"
    ):
        release_steps.gate(behind, evaluated)
    evaluated.keep(release_steps.register(behind, evaluated))
    Registry(behind).client.delete_model_version_tag(REGISTERED_MODEL, "2", "gate.verdict")
    with pytest.raises(InputError, match=r"Release 2 has no verdict yet\. Run `recsim register --refresh r`"):
        release_steps.gate(behind, evaluated)


def test_an_index_that_was_changed_after_its_evaluation_is_not_registered(
    behind: Settings, evaluated: Workspace
) -> None:
    evaluated.keep(steps.build_index(behind, evaluated))
    with pytest.raises(
        InputError, match=r"index of refresh r has changed .*`recsim evaluate --refresh r` again"
    ):
        release_steps.register(behind, evaluated)
    assert stages(Registry(behind)) == {1: "Production"}


def test_register_names_the_step_to_run_again_if_the_page_is_missing(
    behind: Settings, evaluated: Workspace
) -> None:
    (evaluated.folder / PAGE).unlink()
    with pytest.raises(InputError, match=r"verdict\.html.*`recsim evaluate --refresh r` again"):
        release_steps.register(behind, evaluated)
