"""The job `evaluate` on a real catalogue and a real registry.

What is measured, and that it rejects nothing.
"""

from __future__ import annotations

import pytest

from recsim_tasks.contracts import PromoteResult
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.refresh import release_steps, steps
from recsim_tasks.refresh.evaluate import PAGE, evaluate
from recsim_tasks.refresh.workspace import Workspace
from recsim_tasks.release.evaluation import drift_estimate
from recsim_tasks.release.registry.client import Registry
from refresh.conftest import PRODUCTS
from refresh.test_plan_inputs import CHANGES, change, planned

pytestmark = pytest.mark.usefixtures("shared_spark")


def appended(settings: Settings, refresh: str = "r") -> Workspace:
    """A refresh that has brought the index up to date."""
    planned(settings, refresh, "append")
    workspace = Workspace.of(settings, refresh)
    steps.embed(settings, workspace)
    workspace.keep(steps.append_index(settings, workspace))
    return workspace


def test_a_release_is_evaluated_beside_the_champion(behind: Settings) -> None:
    change(behind)
    workspace = appended(behind)
    result = evaluate(behind, workspace)
    assert (result.verdict, result.champion) == ("passed", 1)
    rules = {rule.rule: rule for rule in result.rules}
    difference = rules["Precision@1 no worse than the champion"].difference
    assert difference is not None
    assert difference.low <= difference.mean <= difference.high
    assert rules["Every product is found"].challenger == result.metrics.coverage == 1
    assert rules["Products are kept"].challenger == pytest.approx(CHANGES["delete"] / PRODUCTS)
    page = (workspace.folder / PAGE).read_text()
    assert all(rule.rule in page for rule in result.rules)
    assert "data:image/" in page


def test_a_bad_release_is_measured_and_neither_rejected_nor_registered(behind: Settings) -> None:
    change(behind)
    strict = behind.model_copy(update={"gate_max_withdrawn": 0.0})
    workspace = appended(strict)
    result = evaluate(strict, workspace)
    assert result.verdict == "rejected"
    assert result.reasons[0].startswith(
        "Products are kept: 2.5% of the champion's products are withdrawn; the limit is 0%"
    )
    assert result.summary.startswith("rejected: precision@1")
    assert "broken: Products are kept" in result.summary
    assert [release.version for release in Registry(behind).references()] == [1]
    assert "<h1>Rejected</h1>" in (workspace.folder / PAGE).read_text()


def test_the_drift_of_a_release_adds_to_that_of_the_champion(
    behind: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift_estimate, "MIN_HELD_OUT", 1)
    monkeypatch.setattr(drift_estimate, "NEIGHBOURS", 1)
    for number, images in enumerate((5, 10), start=1):
        change(behind, number)
        workspace = appended(behind, f"r{number}")
        metrics = workspace.keep(evaluate(behind, workspace)).metrics
        assert metrics.drift is not None
        assert 0 <= metrics.drift <= 1
        assert metrics.drift_images == images
        version = workspace.keep(release_steps.register(behind, workspace)).version
        promoted = release_steps.promote(behind, version, "refresh")
        assert promoted == PromoteResult(version=version, previous=version - 1, stage="Production")
        assert Registry(behind).manifest(version).metrics.drift == metrics.drift


def test_an_index_is_compared_with_its_recall_when_built_only_if_it_has_changed_since(
    behind: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index finds more of one sample and less of another: a rebuild cannot differ from itself."""
    monkeypatch.setattr("recsim_tasks.vectors.consistency.overlap", lambda index, queries: 0.9)
    planned(behind, mode="rebuild")
    workspace = Workspace.of(behind, "r")
    steps.embed(behind, workspace)
    workspace.keep(steps.build_index(behind, workspace))
    built = evaluate(behind, workspace)
    assert (built.verdict, built.rebuild.overlap, built.rebuild.rebuilt_overlap) == ("passed", 0.9, 0.9)
    assert built.since_training == {}, "the champion of these tests does not know its training images"
    change(behind)
    planned(behind, "s", "append")
    later = Workspace.of(behind, "s")
    steps.embed(behind, later)
    steps.append_index(behind, later)
    result = evaluate(behind, later)
    assert (result.verdict, result.rebuild.overlap, result.rebuild.rebuilt_overlap) == ("rejected", 0.9, 1.0)
