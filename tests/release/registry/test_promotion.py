from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

from recsim_tasks.contracts import Cursor, PromoteResult, RollbackResult
from recsim_tasks.foundation.errors import FrozenError, InputError, MissingError, RecsimError, RejectedError
from recsim_tasks.foundation.settings import Settings
from recsim_tasks.release.bundle import Release
from recsim_tasks.release.registry.client import Registry
from recsim_tasks.release.registry.promotion import Promotions
from recsim_tasks.vectors.filters import Filters
from release.bundles import CURSOR, make_bundle, png_image
from release.killed import copied, in_a_child
from release.registered import REJECTED, register, stages, stored


@pytest.fixture(scope="session")
def other_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("other")
    make_bundle(folder, seed=1, count=50, suffix="-b", cursor=Cursor(CURSOR.table_id, 4))
    return folder / "release"


@pytest.fixture(scope="session")
def three_releases(
    tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path, read_only_bundle: Path, other_bundle: Path
) -> Path:
    """A home in which version 1 was in Production, 2 is, and 3 is in Staging."""
    home = tmp_path_factory.mktemp("three")
    (home / "mlflow").mkdir()
    shutil.copyfile(empty_mlflow, home / "mlflow" / "mlflow.db")
    registry = Registry(Settings.model_construct(home=home))
    for number, bundle in enumerate([read_only_bundle, other_bundle, read_only_bundle], start=1):
        assert register(registry, bundle, refresh=f"refresh {number}", against=number - 1 or None) == number
    Promotions(registry).promote(1)
    Promotions(registry).promote(2)
    return home


@pytest.fixture
def three(with_registry: Settings, three_releases: Path) -> Promotions:
    shutil.copyfile(three_releases / "mlflow" / "mlflow.db", with_registry.home / "mlflow" / "mlflow.db")
    return Promotions(Registry(with_registry))


def state(promotions: Promotions) -> tuple[dict[int, str], dict[str, int]]:
    registry = promotions.registry
    return stages(registry), registry.stages.aliases()


def in_production(promotions: Promotions) -> list[int]:
    """The releases that stage, alias and the open end of the history name: three times the same one."""
    named = [number for number, stage in stages(promotions.registry).items() if stage == "Production"]
    return [
        *named,
        promotions.registry.stages.aliases()["champion"],
        *(period.version for period in promotions.history() if period.end is None),
    ]


def test_one_release_is_in_production_and_the_one_before_is_remembered(three: Promotions) -> None:
    assert state(three) == ({1: "Archived", 2: "Production", 3: "Staging"}, {"champion": 2, "previous": 1})
    assert three.promote(3) == PromoteResult(version=3, previous=2, stage="Production")
    assert state(three) == ({1: "Archived", 2: "Archived", 3: "Production"}, {"champion": 3, "previous": 2})


def test_a_promotion_that_is_repeated_changes_nothing(three: Promotions) -> None:
    before = state(three), three.history()
    assert three.promote(2) == PromoteResult(version=2, previous=1, stage="Production")
    assert (state(three), three.history()) == before


def test_the_history_says_which_release_was_in_production_and_why(three: Promotions) -> None:
    three.promote(3, "ada", "airflow")
    three.rollback(1, "poor answers", "bob")
    history = three.history()
    assert [(period.version, period.by, period.through, period.why) for period in history] == [
        (1, "refresh", "cli", "promoted"),
        (2, "refresh", "cli", "promoted"),
        (3, "ada", "airflow", "promoted"),
        (1, "bob", "cli", "rolled back from 3: poor answers"),
    ]
    assert [period.end for period in history] == [*(period.start for period in history[1:]), None]


def test_a_rejected_release_is_not_promoted(three: Promotions, bundle: Path) -> None:
    number = register(three.registry, bundle, refresh="worse", evaluation=REJECTED)
    before = state(three)
    with pytest.raises(
        RejectedError, match=f"The gate rejected release {number}, it stays in Staging. It is worse."
    ):
        three.promote(number)
    assert state(three) == before


def test_a_refresh_that_was_overtaken_does_not_promote(three: Promotions, bundle: Path) -> None:
    slow = register(three.registry, bundle, refresh="slow", against=2)
    three.promote(3)
    with pytest.raises(
        RejectedError,
        match=f"Release {slow} was compared with release 2, but release 3 is in Production now",
    ):
        three.promote(slow)
    assert in_production(three) == [3, 3, 3]


def test_a_rollback_brings_model_and_index_back(three: Promotions, tmp_path: Path) -> None:
    result = three.rollback(None, "poor answers", "ada")
    assert (result.version, result.previous, result.stage, result.frozen.reason) == (
        1,
        2,
        "Production",
        "poor answers",
    )
    release = Release.open(three.registry.download(1, tmp_path / "fetched"))
    assert release.manifest.cursor == CURSOR
    assert release.similar(png_image(7), 1, Filters())[0]["product_id"] == "p007"
    assert state(three)[0] == {1: "Production", 2: "Archived", 3: "Staging"}
    assert three.registry.version(2).tags["rolled_back"] == "poor answers"


def test_after_a_rollback_promotions_are_frozen_until_a_person_resumes_them(
    three: Promotions, bundle: Path
) -> None:
    three.rollback(None, "poor answers", "ada")
    next_night = register(three.registry, bundle, refresh="next night")
    with pytest.raises(
        FrozenError,
        match=r"frozen by ada since 20\d\d-.* poor answers\. Release 4 stays in Staging; after `recsim",
    ):
        three.promote(next_night)
    assert in_production(three) == [1, 1, 1]
    assert three.resume("bob").reasons == ["bob (cli) resumed promotions, which ada had frozen."]
    assert three.promote(next_night).version == next_night
    assert three.resume("bob").reasons == ["Promotions were not frozen."]


def test_a_rollback_takes_a_reason_of_any_length(three: Promotions) -> None:
    three.rollback(1, "ü" * 20_000, "ada")
    freeze = three.freeze()
    assert freeze is not None
    assert len(freeze.reason) == 1000
    assert in_production(three) == [1, 1, 1]


def test_an_outage_is_named_wherever_the_registry_is_read(
    three: Promotions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise MlflowException("API request failed with error code 503", error_code=TEMPORARILY_UNAVAILABLE)

    for method in ("get_registered_model", "search_model_versions"):
        monkeypatch.setattr(type(three.registry.client), method, away)
    for read in (three.freeze, three.history):
        with pytest.raises(RecsimError, match="The database of MLflow at sqlite"):
            read()


def test_a_rollback_may_go_anywhere_and_back_again(three: Promotions) -> None:
    for target in (1, 2, 3, 1):
        three.rollback(target, "a drill", "ada")
        assert in_production(three) == [target] * 3


def test_a_rollback_that_is_made_again_goes_no_further_back(three: Promotions) -> None:
    three.promote(3)
    first = three.rollback(None, "poor answers", "ada")
    assert first.version == 2
    again = three.rollback(None, "poor answers", "ada")
    assert again == first
    assert in_production(three) == [2, 2, 2]
    assert three.rollback(1, "further", "ada").version == 1


def test_a_rollback_whose_target_was_deleted_goes_further_back(three: Promotions) -> None:
    three.promote(3)
    assert three.rollback(None, "poor answers", "ada").version == 2
    three.registry.client.delete_model_version("recsim", "2")
    assert three.rollback(None, "deleted by mistake", "ada").version == 1
    assert in_production(three) == [1, 1, 1]


def test_a_release_that_was_rolled_back_is_no_place_to_go_back_to(three: Promotions, bundle: Path) -> None:
    three.promote(3)
    three.rollback(1, "poor answers", "ada")
    three.resume("ada")
    three.promote(register(three.registry, bundle, refresh="the fourth"))
    assert three.rollback(None, "poor again", "ada").version == 1


def test_a_release_that_was_rolled_back_is_not_promoted_by_a_task_that_is_cleared(three: Promotions) -> None:
    three.rollback(None, "poor answers", "ada")
    three.resume("ada")
    with pytest.raises(RejectedError, match=r"Release 2 was rolled back: poor answers.*rollback --to 2"):
        three.promote(2)
    three.rollback(2, "it was not that poor", "ada")
    assert "rolled_back" not in three.registry.version(2).tags
    assert in_production(three) == [2, 2, 2]


def test_a_mistyped_number_does_not_put_a_rejected_release_into_production(
    three: Promotions, bundle: Path
) -> None:
    worse = register(three.registry, bundle, refresh="worse", evaluation=REJECTED)
    before = state(three)
    with pytest.raises(
        RejectedError,
        match=rf"Release {worse} may not go into Production: the gate rejected it: It is worse\.",
    ):
        three.rollback(worse, "", "ada")
    assert (state(three), three.freeze()) == (before, None)


@pytest.mark.parametrize("to", [None, 1])
def test_a_champion_that_was_deleted_can_be_rolled_back_from(three: Promotions, to: int | None) -> None:
    three.registry.client.delete_model_version("recsim", "2")
    result = three.rollback(to, "the champion is gone", "ada")
    assert (result.version, result.previous) == (1, None)
    assert in_production(three) == [1, 1, 1]
    assert three.history()[-1].why == "rolled back from 2: the champion is gone"


def test_a_rollback_with_nothing_before_says_so(with_registry: Settings, read_only_bundle: Path) -> None:
    promotions = Promotions(Registry(with_registry))
    with pytest.raises(MissingError, match="no earlier release to go back to"):
        promotions.rollback(None, "", "ada")
    register(promotions.registry, read_only_bundle)
    promotions.promote(1)
    with pytest.raises(MissingError, match="no earlier release to go back to"):
        promotions.rollback(None, "", "ada")


def test_a_version_that_does_not_exist_changes_nothing(three: Promotions) -> None:
    before = state(three)
    for attempt in (three.promote, lambda version: three.rollback(version, "", "ada")):
        with pytest.raises(MissingError, match="Release 9 does not exist"):
            attempt(9)
    assert state(three) == before
    assert three.freeze() is None


@pytest.fixture
def own_three(registry: Registry, read_only_bundle: Path, other_bundle: Path) -> Promotions:
    """The same three releases with files of their own, for tests that remove files."""
    promotions = Promotions(registry)
    for number, bundle in enumerate([read_only_bundle, other_bundle, read_only_bundle], start=1):
        promotions.promote(register(registry, bundle, refresh=f"refresh {number}"))
    return promotions


def take_away(promotions: Promotions, version: int, how: str) -> None:
    """Its files in MLflow: all, or one."""
    bundle = stored(promotions.registry, version)
    shutil.rmtree(bundle) if how == "folder" else (bundle / "index" / "vectors.faiss").unlink()


LOSSES = {"folder": (MissingError, "it was removed"), "file": (InputError, "missing")}


@pytest.mark.parametrize("how", LOSSES)
def test_a_target_that_cannot_be_read_leaves_everything_as_it_was(
    own_three: Promotions, bundle: Path, how: str
) -> None:
    kind, reason = LOSSES[how]
    fourth = register(own_three.registry, bundle, refresh="the fourth")
    for version in (1, fourth):
        take_away(own_three, version, how)
    before = state(own_three), own_three.history()
    with pytest.raises(kind, match=f"Release 1 cannot be read, nothing was changed: .*{reason}"):
        own_three.rollback(1, "poor answers", "ada")
    with pytest.raises(kind, match=reason) as refused:
        own_three.promote(fourth)
    assert refused.value.exit_code == 2
    assert (state(own_three), own_three.history(), own_three.freeze()) == (before[0], before[1], None)
    assert "rolled_back" not in own_three.registry.version(3).tags
    assert in_production(own_three) == [3, 3, 3]


def test_a_rollback_skips_what_cannot_be_read_and_says_so(
    own_three: Promotions, caplog: pytest.LogCaptureFixture
) -> None:
    take_away(own_three, 2, "file")
    result = own_three.rollback(None, "poor answers", "ada")
    assert (result.version, result.frozen.unreadable) == (1, [2])
    assert result.reasons[1] == "Skipped because they cannot be read: 2."
    assert "Release 2 is skipped because it cannot be read: Release 2 is damaged in MLflow" in caplog.text
    assert in_production(own_three) == [1, 1, 1]
    assert own_three.rollback(None, "poor answers", "ada") == result


def test_when_no_earlier_release_can_be_read_nothing_changes(own_three: Promotions) -> None:
    for version in (1, 2):
        take_away(own_three, version, "folder")
    before = state(own_three)
    with pytest.raises(
        MissingError, match=r"No earlier release can be read, nothing was changed; tried: 2, 1\."
    ):
        own_three.rollback(None, "poor answers", "ada")
    assert (state(own_three), own_three.freeze()) == (before, None)


@pytest.mark.drill
@pytest.mark.parametrize(
    ("action", "version"), [("promote", 3), ("approve", 3), ("rollback", 1), ("rollback to 1", 1)]
)
def test_a_change_killed_at_any_call_leaves_one_champion(
    three: Promotions, with_registry: Settings, tmp_path: Path, action: str, version: int
) -> None:
    """Wherever it is killed, one release is in Production, the old or the new one, and a retry works."""
    left = []
    for fatal in range(1, 50):
        settings = copied(with_registry, tmp_path / f"killed at {fatal}")
        status = in_a_child(fatal, lambda: change(Promotions(Registry(settings)), action, version))  # noqa: B023
        promotions = Promotions(Registry(settings))
        promotions.reconcile()
        champion = promotions.registry.stages.aliases()["champion"]
        assert in_production(promotions) == [champion] * 3
        if status == 0:
            break
        assert status == -signal.SIGKILL
        left.append(champion)
        assert change(promotions, action, version).version == version
        assert in_production(promotions) == [version] * 3
        assert [period.version for period in promotions.history()] == [1, 2, version]
        assert promotions.registry.stages.aliases()["previous"] == 2
    assert len(left) >= 6
    assert left == sorted(left, key=lambda champion: champion == version), (
        "first the old one, then the new one"
    )
    assert {2, version} == set(left)


def change(promotions: Promotions, action: str, version: int) -> PromoteResult | RollbackResult:
    if action == "promote":
        return promotions.promote(version)
    if action == "approve":
        return promotions.promote(version, "ada", "airflow", 1_800_000_000.0)
    return promotions.rollback(version if action == "rollback to 1" else None, "a test", "ada")


def test_a_first_promotion_killed_before_the_alias_leaves_no_champion(
    with_registry: Settings, read_only_bundle: Path
) -> None:
    promotions = Promotions(Registry(with_registry))
    register(promotions.registry, read_only_bundle)
    promotions.registry.client.transition_model_version_stage("recsim", "1", "Production")
    promotions.reconcile()
    assert promotions.registry.champion() is None
    assert stages(promotions.registry) == {1: "Staging"}
    assert promotions.history() == []
