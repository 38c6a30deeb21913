"""Which release is the champion: the registry as people, kills and deletions leave it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recsim_tasks.foundation.errors import RejectedError
from recsim_tasks.release.registry.approval import Approval
from recsim_tasks.release.registry.production import earlier_versions, production_tag, resolve_champion
from recsim_tasks.release.registry.promotion import Promotions
from release.registered import REJECTED, move_alias, register, stages
from release.registry.test_promotion import in_production, other_bundle, three, three_releases

__all__ = ["other_bundle", "three", "three_releases"]
PASSED = {"gate.verdict": "passed"}
REJECTED_TAGS = {"gate.verdict": "rejected", "gate.reasons": "It is worse."}


def was(*points: int, **more: str) -> dict[str, str]:
    """The tags of a version that was in Production at these points."""
    return PASSED | {production_tag(point): "{}" for point in points} | more


KEPT = {1: was(0), 2: was(1), 3: was(2)}


@pytest.mark.parametrize("named", [1, 2, 3])
def test_what_the_alias_names_is_the_champion_when_it_may_serve(named: int) -> None:
    resolved = resolve_champion(named, [1, 2, 3], KEPT)
    assert (resolved.version, resolved.problem) == (named, None)


def test_nothing_is_the_champion_before_the_first_promotion() -> None:
    resolved = resolve_champion(None, [], {})
    assert (resolved.version, resolved.problem, resolved.deleted) == (None, None, None)


UNFIT = {
    "rejected by the gate": REJECTED_TAGS,
    "of an unknown verdict": {"gate.verdict": "pass"},
    "never resolved": {},
    "rolled back": PASSED | {"rolled_back": "poor answers"},
    "rejected by a person": PASSED
    | {"approval": Approval("rejected", "ada", 1.0, "airflow", "ugly").as_tag(), "refresh_id": "r"},
    "awaited": PASSED | {"approval": Approval("awaited").as_tag(), "refresh_id": "r"},
}


@pytest.mark.parametrize("why", UNFIT)
def test_an_alias_moved_to_what_may_not_serve_changes_no_champion(why: str) -> None:
    resolved = resolve_champion(4, [1, 2, 3], KEPT | {4: UNFIT[why]})
    assert (resolved.version, resolved.deleted) == (3, None)
    assert resolved.problem is not None
    assert resolved.problem.startswith(
        "The alias champion was moved by hand to release 4, which is not served: "
    )
    assert resolved.problem.endswith(
        "Release 3 stays the champion; `recsim promote --version 3` restores the alias."
    )


def test_a_removed_alias_is_named_and_changes_no_champion() -> None:
    resolved = resolve_champion(None, [1, 2, 3], KEPT)
    assert resolved.version == 3
    assert resolved.problem == (
        "The alias champion was removed from the registry. Release 3 stays the champion; `recsim promote "
        "--version 3` restores the alias."
    )


@pytest.mark.parametrize("named", [None, 3, 4])
def test_a_deleted_champion_is_named_and_the_newest_earlier_release_takes_its_place(
    named: int | None,
) -> None:
    kept = {1: was(0), 2: was(1, rolled_back="poor"), 4: REJECTED_TAGS}
    resolved = resolve_champion(named, [1, 2, 3], kept)
    assert (resolved.version, resolved.deleted) == (1, 3)
    assert resolved.problem is not None
    assert (
        "Release 3 was in Production and was deleted from the registry. Release 1, which was in Production "
        "before, takes its place" in resolved.problem
    )


def test_when_all_that_were_in_production_are_deleted_it_is_no_first_start() -> None:
    resolved = resolve_champion(None, [1, 2], {})
    assert (resolved.version, resolved.deleted) == (None, 2)
    assert resolved.problem == (
        "Release 2 was in Production and was deleted from the registry. "
        "No earlier release is left: the next refresh trains an encoder and promotes a new release."
    )


def test_a_number_that_was_given_again_is_not_the_release_that_had_it() -> None:
    """A registered model that was deleted and made again counts from 1."""
    assert resolve_champion(None, [1, 2], {1: PASSED}).version is None
    assert earlier_versions([1, 2], {1: PASSED}) == []


def test_the_release_that_a_killed_rollback_was_about_to_leave_is_still_the_champion() -> None:
    assert resolve_champion(3, [1, 2, 3], KEPT | {3: was(2, rolled_back="poor")}).version == 3


def test_earlier_releases_are_each_once_and_the_newest_first() -> None:
    kept = {1: was(0, 3), 2: was(1), 3: was(2, rolled_back="poor"), 4: was(4)}
    assert earlier_versions([1, 2, 3, 1, 4], kept) == [1, 2]


def rejected_release(promotions: Promotions, bundle: Path) -> int:
    return register(promotions.registry, bundle, refresh="worse", evaluation=REJECTED)


def test_an_alias_moved_by_hand_is_put_right_by_the_next_promotion(three: Promotions, bundle: Path) -> None:
    worse = rejected_release(three, bundle)
    move_alias(three.registry, worse)
    three.registry.client.transition_model_version_stage(
        "recsim", str(worse), "Production", archive_existing_versions=True
    )
    production = three.registry.production()
    assert production.release is not None
    assert (production.release.version, production.deleted) == (2, None)
    assert production.problem is not None
    assert "the gate rejected it: It is worse. Release 2 stays" in production.problem
    three.reconcile()
    assert stages(three.registry) == {1: "Archived", 2: "Production", 3: "Staging", worse: "Staging"}
    with pytest.raises(RejectedError, match=f"The gate rejected release {worse}"):
        three.promote(worse)
    assert three.promote(3).previous == 2
    assert in_production(three) == [3, 3, 3]
    assert three.registry.production().problem is None


@pytest.mark.parametrize("act", ["moved", "removed"])
def test_promoting_the_champion_sets_its_alias_again(three: Promotions, bundle: Path, act: str) -> None:
    if act == "moved":
        move_alias(three.registry, rejected_release(three, bundle))
    else:
        three.registry.client.delete_registered_model_alias("recsim", "champion")
    assert three.promote(2, "ada").version == 2
    assert in_production(three) == [2, 2, 2]
    assert [period.version for period in three.history()] == [1, 2]


def test_an_alias_moved_to_a_release_that_passed_is_followed_and_noted(three: Promotions) -> None:
    move_alias(three.registry, 3)
    three.reconcile()
    assert in_production(three) == [3, 3, 3]
    last = three.history()[-1]
    assert (last.by, last.through, last.why) == (None, "mlflow", "the alias was moved in MLflow")


def test_a_deleted_champion_is_not_mistaken_for_a_first_start(three: Promotions) -> None:
    """MLflow takes the alias away with the version."""
    three.registry.client.delete_model_version("recsim", "2")
    assert three.registry.stages.aliases() == {"previous": 1}
    production = three.registry.production()
    assert production.release is not None
    assert (production.release.version, production.deleted) == (1, 2)
    three.reconcile()
    assert three.registry.production() == production, "until a person or a promotion says otherwise"
    three.promote(1, "ada")
    assert in_production(three) == [1, 1, 1]
    assert json.loads(three.registry.version(1).tags[production_tag(2)])["by"] == "ada"


def test_a_registered_model_that_was_deleted_is_remembered_by_its_history(
    three: Promotions, bundle: Path
) -> None:
    three.registry.client.delete_registered_model("recsim")
    production = three.registry.production()
    assert (production.release, production.deleted) == (None, 2)
    assert register(three.registry, bundle, refresh="after") == 1
    assert three.registry.production().release is None
    three.promote(1)
    assert in_production(three) == [1, 1, 1]


def test_a_model_that_a_person_has_registered_under_the_same_name_is_no_release(three: Promotions) -> None:
    three.registry.client.create_model_version("recsim", "file:///elsewhere")
    move_alias(three.registry, 4)
    production = three.registry.production()
    assert production.release is not None
    assert production.release.version == 2
    assert [release.version for release in three.registry.references()] == [1, 2, 3]
    assert len(three.registry.model_fingerprints()) == 2
    with pytest.raises(RejectedError):
        three.promote(4)
