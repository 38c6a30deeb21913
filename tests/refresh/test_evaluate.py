"""The end of a refresh on a real catalogue and a real registry: what is measured, stored with the release, and told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from deltalake import CommitProperties, DeltaTable

from recsim_tasks.foundation.errors import RejectedError
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh import evaluate, steps
from recsim_tasks.refresh.workspace import Workspace
from recsim_tasks.release.evaluation import drift_estimate
from recsim_tasks.release.registry.client import Registry
from recsim_tasks.release.registry.stages import NAME
from refresh.conftest import PRODUCTS
from refresh.test_plan_inputs import CHANGES, change, planned


def appended(settings: Settings, refresh: str = "r") -> Workspace:
    """A refresh that has brought the index up to date."""
    planned(settings, refresh, "append")
    workspace = Workspace.of(settings, refresh)
    steps.embed(settings, workspace)
    workspace.keep("index", steps.append_index(settings, workspace))
    return workspace


def artifact(settings: Settings, version: int, name: str, folder: Path) -> str:
    """What the run of a release keeps under `verdict/`."""
    client = Registry(settings).client
    run = client.get_model_version(NAME, str(version)).run_id
    return Path(client.download_artifacts(run, f"verdict/{name}", str(folder))).read_text()


def test_a_release_is_judged_beside_the_champion_and_registered_with_its_verdict_and_where_it_comes_from(
    behind: Settings, tmp_path: Path
) -> None:
    change(behind)
    told = CommitProperties(
        custom_metadata={"userMetadata": json.dumps({"feed_id": "tuesday", "refresh": "r"})}
    )
    DeltaTable(behind.products_uri).update(
        {"price": "1.0"}, predicate="product_id = 'p020'", commit_properties=told
    )
    workspace = appended(behind)
    result = workspace.keep("evaluate", evaluate.evaluate(behind, workspace))
    assert result["verdict"] == "pass"
    rules = {rule["rule"]: rule for rule in result["rules"]}
    assert (
        rules["Precision@1 no worse than the champion"]["difference"]["low"]
        <= rules["Precision@1 no worse than the champion"]["difference"]["high"]
    )
    assert rules["Every product is found"]["challenger"] == result["metrics"]["coverage"] == 1
    assert rules["Products stay"]["challenger"] == pytest.approx(CHANGES["delete"] / PRODUCTS)
    registered = evaluate.register(behind, workspace)
    assert registered == evaluate.register(behind, workspace)
    assert (registered["version"], registered["previous"], registered["stage"]) == (2, 1, "Staging")
    assert registered["mlflow_page"].endswith("/artifacts/verdict/verdict.html")
    tags: dict[str, Any] = Registry(behind).client.get_model_version(NAME, "2").tags
    assert (tags["gate.verdict"], tags["gate.champion"], tags["refresh_id"], tags["feeds"]) == (
        "pass",
        "1",
        "r",
        "tuesday",
    )
    assert json.loads(artifact(behind, 2, "verdict.json", tmp_path))["rules"] == result["rules"]
    page = artifact(behind, 2, "verdict.html", tmp_path)
    assert all(rule["rule"] in page for rule in result["rules"])
    assert "data:image/" in page


def test_a_release_that_the_gate_holds_is_in_staging_with_the_reasons_and_what_follows_does_not_run(
    behind: Settings,
) -> None:
    change(behind)
    strict = behind.model_copy(update={"gate_max_withdrawn": 0.0})
    workspace = appended(strict)
    with pytest.raises(
        RejectedError, match=r"^Products stay: 2\.5% of the champion's products are gone; 0% may be"
    ) as held:
        evaluate.evaluate(strict, workspace)
    assert (held.value.result["verdict"], held.value.result["version"]) == ("hold", 2)
    version = Registry(behind).client.get_model_version(NAME, "2")
    assert (version.current_stage, version.tags["gate.verdict"]) == ("Staging", "hold")
    with pytest.raises(RejectedError, match="The gate holds this release back: Products stay"):
        evaluate.register(strict, workspace)
    with pytest.raises(RejectedError, match="The gate held release 2"):
        steps.promote(strict, 2, "refresh", "airflow", None)
    assert Registry(behind).client.get_model_version(NAME, "1").current_stage == "Production"


def test_the_drift_of_a_release_adds_to_that_of_the_champion(
    behind: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift_estimate, "FEWEST_HELD_OUT", 1)
    monkeypatch.setattr(drift_estimate, "NEIGHBOURS", 1)
    likelihoods = []
    for number, images in enumerate((5, 10), start=1):
        change(behind, number)
        workspace = appended(behind, f"r{number}")
        metrics = workspace.keep("evaluate", evaluate.evaluate(behind, workspace))["metrics"]
        likelihoods.append(metrics["drift"])
        assert metrics["drift_images"] == images
        version = workspace.keep("register", evaluate.register(behind, workspace))["version"]
        steps.promote(behind, version, "refresh")
        assert Registry(behind).manifest(version).metrics["drift"] == metrics["drift"]
    assert all(0 <= likelihood <= 1 for likelihood in likelihoods)


def test_only_an_index_that_was_changed_since_it_was_built_is_held_against_what_it_found_then(
    behind: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index finds more of one sample and less of another: as the rebuild that it is, it cannot differ from itself."""
    monkeypatch.setattr("recsim_tasks.vectors.consistency.overlap", lambda index, queries: 0.9)
    planned(behind, mode="rebuild")
    workspace = Workspace.of(behind, "r")
    steps.embed(behind, workspace)
    workspace.keep("index", steps.build_index(behind, workspace))
    built = evaluate.evaluate(behind, workspace)
    assert (built["verdict"], built["rebuild"]["overlap"], built["rebuild"]["rebuilt_overlap"]) == (
        "pass",
        0.9,
        0.9,
    )
    assert built["since_training"] == {}, "the champion of these tests does not say what it was trained on"
    change(behind)
    planned(behind, "s", "append")
    appended = Workspace.of(behind, "s")
    steps.embed(behind, appended)
    steps.append_index(behind, appended)
    with pytest.raises(RejectedError, match=r"it finds 0\.9000 of the exact ten nearest, a rebuild 1\.0000"):
        evaluate.evaluate(behind, appended)
